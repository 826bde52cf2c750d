"""Ask one plugin what it provides, and believe nothing that it says before it is checked."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mibench.api.specs import API_VERSION, Kind, Spec
from mibench.registry.failures import Phase, PluginFailure, describe_error, place_of
from mibench.registry.interrupts import is_interruption
from mibench.registry.kinds import SPEC_TYPES, plural
from mibench.registry.packages import path_inside
from mibench.registry.plugin import Plugin
from mibench.registry.registered import Registered

MOST = 10_000
"""More objects than this come from a generator that has no end."""

_TEXTS = ("name", "factory", "version", "summary", "licence")


@dataclass
class Collected:
    """What a plugin provides and what of it had to be refused.

    Attributes:
        registered: components whose specs are sound.
        folders: folders with ready-made artifacts.
        failures: one entry per broken hook, and per reason that specs were refused for.
    """

    registered: list[Registered] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)


def collect(plugin: Plugin) -> Collected:
    """Call the collect hooks of one plugin.

    A hook that raises loses what it had yielded; the other hooks of the plugin still count. A spec that is refused
    does not take its siblings with it.
    """
    found = Collected()
    for kind in SPEC_TYPES:
        _collect_specs(plugin, kind, found)
    for item in _ask(plugin, "mibench_artifacts", "artifacts", found):
        folder = path_inside(item)
        if folder is None or not folder.is_dir():
            reason = f"mibench_artifacts gave {item!r}; expected 'package:folder' naming an installed folder"
            found.failures.append(plugin.failure("artifacts", reason))
        else:
            found.folders.append(folder)
    return found


def _collect_specs(plugin: Plugin, kind: Kind, found: Collected) -> None:
    refused: dict[str, list[str]] = {}
    for item in _ask(plugin, f"mibench_{plural(kind)}", "collect", found, kind=kind):
        problem = _problem(item, kind)
        if problem:
            refused.setdefault(problem, []).append(item.name if isinstance(item, Spec) else "")
        else:
            source = plugin.source
            found.registered.append(Registered(item, source.distribution, source.version, plugin.module, plugin.file))
    for problem, names in refused.items():
        lost = tuple(sorted(str(name) for name in names if name))
        reason = f"{problem} ({', '.join(lost)})" if lost else problem
        found.failures.append(plugin.failure("spec", reason, kind=kind, names=lost))


def _ask(plugin: Plugin, hook: str, phase: Phase, found: Collected, *, kind: Kind | None = None) -> list[Any]:
    """Return everything that a collect hook gives, or nothing and a failure if it breaks on the way."""
    if not plugin.implements(hook):
        return []
    file = ""
    try:
        with redirect_stdout(sys.stderr):
            answers = plugin.call(hook)
            problem = _shape_problem(answers)
            if not problem:
                items = list(islice(chain.from_iterable(answers), MOST + 1))
                if len(items) <= MOST:
                    return items
                problem = f"gives more than {MOST} objects; does it ever end?"
    except BaseException as error:
        if is_interruption(error):
            raise
        problem, file = f"raised {describe_error(error)}", place_of(error)
    found.failures.append(plugin.failure(phase, f"{hook} {problem}", file=file, kind=kind))
    return []


def _shape_problem(answers: list[Any]) -> str:
    if not answers:
        return "returned None; expected an iterable"
    wrong = [answer for answer in answers if isinstance(answer, str | bytes) or not isinstance(answer, Iterable)]
    return f"returned {type(wrong[0]).__name__}; expected an iterable" if wrong else ""


def _problem(item: object, kind: Kind) -> str:
    expected = SPEC_TYPES[kind]
    if isinstance(item, Spec) and item.api != API_VERSION:
        return f"is written for plugin API {item.api!r}; this mibench has {API_VERSION!r}: install matching versions"
    if not isinstance(item, expected):
        return f"mibench_{plural(kind)} gave an object of type {type(item).__name__}; expected {expected.__name__}"
    wrong = [name for name in _TEXTS if not isinstance(getattr(item, name), str)]
    return f"{wrong[0]} is {getattr(item, wrong[0])!r}; expected a string" if wrong else ""
