"""The process in which unknown plugins are looked at; it may die of them. Started by :mod:`mibench.registry.probe`.

It reads one line, the plugins, and answers with lines of a mark and JSON: ``{"index", "phase"}`` before each thing that
a plugin could break in, and a whole finding after each plugin. Whatever else it writes, a plugin wrote.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from typing import Any

from mibench.registry.collect import collect
from mibench.registry.entry_points import EntryPointRef
from mibench.registry.factories import problem_of
from mibench.registry.plugin import Plugin, load

HEAVY = ("torch", "torchvision", "tensorflow", "jax", "pandas", "scipy", "sklearn", "matplotlib", "transformers", "cv2")
"""Packages that take long to import and that no listing needs."""


def main() -> None:
    """Look at the plugins one by one; end early after one that may have changed what the next one would find."""
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    given = json.loads(orders.readline())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # a plugin that asks a person gets no answer
    threading.Thread(target=_end_with_parent, args=(orders,), daemon=True).start()
    answers = os.dup(1)

    def say(**message: Any) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        line = f"\n{given['mark']}{json.dumps(message)}\n".encode()
        while line:
            line = line[os.write(answers, line) :]

    for at, source in enumerate(given["sources"]):
        before = set(sys.modules)
        found = _look(EntryPointRef(**source), _Phases(say, at))
        new = set(sys.modules) - before
        heavy = [name for name in HEAVY if name in new]
        say(index=at, **found, heavy=heavy, files=_files(new))
        if heavy:
            break
    os._exit(0)


class _Phases:
    """Says what a plugin is about to do."""

    def __init__(self, say: Callable[..., None], at: int) -> None:
        self._send, self._at = say, at

    def __call__(self, phase: str) -> None:
        self._send(index=self._at, phase=phase)


def _look(source: EntryPointRef, phase: Callable[[str], None]) -> dict[str, Any]:
    began = time.monotonic()
    missing: list[tuple[str, str, str]] = []
    phase("it was imported")
    try:
        plugin = load(source)
        if isinstance(plugin, Plugin):
            phase("it was asked for its components")
            for entry in collect(plugin).registered:
                if problem := problem_of(entry.spec.factory):
                    reason = f"its factory {entry.spec.factory!r} does not exist: {problem}"
                    missing.append((entry.kind, entry.name, reason))
    except BaseException as error:  # nobody interrupts this process from outside, so it was the plugin
        trouble = f"it interrupted the process ({type(error).__name__})"
        return {"seconds": time.monotonic() - began, "missing": [], "trouble": trouble}
    return {"seconds": time.monotonic() - began, "missing": missing, "trouble": ""}


def _end_with_parent(orders: Any) -> None:
    orders.read()
    os._exit(1)


def _files(modules: set[str]) -> list[str]:
    """Return the files of modules that are not Python's own."""
    own = sysconfig.get_paths()["stdlib"]
    found = [getattr(sys.modules.get(name), "__file__", None) for name in modules]
    files = {name for name in found if isinstance(name, str)}
    return sorted(name for name in files if not name.startswith(own) or "site-packages" in name)
