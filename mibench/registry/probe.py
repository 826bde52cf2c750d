"""Look at plugins that are not known yet in a process of their own, which they may end, hang or litter.

pluggy and Python can contain what raises; nothing in this process can contain ``os._exit``, a crash or an endless loop.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mibench.api.errors import UsageError
from mibench.registry.entry_points import EntryPointRef
from mibench.registry.verdicts import Verdict, own_files, recall, remember, state_of

LIMIT_VARIABLE = "MIBENCH_PLUGIN_SECONDS"
LIMIT_S = 30.0
"""Longest time that a plugin may take to be imported, or to be asked: enough for torch on a busy machine."""

PATIENCE_S = 4.0
"""After this time without news people are told what is waited for."""

OWN = "mibench"
START_S = 60.0
"""Longest time until the process is ready for a plugin."""

_LONGEST_LINE = 1 << 24
_GLANCE_S = 0.1

_log = logging.getLogger(__name__)


def judge(sources: Sequence[EntryPointRef]) -> dict[EntryPointRef, Verdict]:
    """Return what is known of plugins, after a look at those that are new or have changed.

    The core's own plugin is not among them, nor is any whose module cannot be found or for which no process can be
    started.

    Raises:
        UsageError: if ``MIBENCH_PLUGIN_SECONDS`` is not a positive number.
    """
    foreign = [source for source in sources if source.value.partition(":")[0].partition(".")[0] != OWN]
    verdicts = {source: verdict for source in foreign if (verdict := recall(source))}
    waiting = [source for source in foreign if source not in verdicts and own_files(source)]
    while waiting:
        before = {source: state_of(own_files(source)) for source in waiting}
        found = _Probe(waiting).findings()
        if not found:
            break
        for source, finding in zip(waiting, found, strict=False):
            finding["files"] = {**state_of(finding.get("files", [])), **before[source]}
            verdicts[source] = Verdict.from_json({**finding, "looked_at": time.time()})
            remember(source, verdicts[source])
        waiting = waiting[len(found) :]
    return verdicts


class _Probe:
    """One process that looks at plugins in turn, up to the first one that breaks it."""

    def __init__(self, sources: Sequence[EntryPointRef]) -> None:
        self._sources, self._limit_s = sources, _limit()
        self._mark = uuid.uuid4().hex.encode()
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def findings(self) -> list[dict[str, Any]]:
        """Return the fields of the verdicts on the first plugins; none if no process can be started."""
        path = [place for place in sys.path if isinstance(place, str)]
        code = f"import sys; sys.path[:] = {path!r}; from mibench.registry.probing import main; main()"
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is for this process, which ends that one
            )
        except (OSError, ValueError):
            return []
        try:
            threading.Thread(target=self._listen, args=(process,), daemon=True).start()
            self._order(process)
            return self._on_message(process)
        finally:
            _end(process)

    def _order(self, process: subprocess.Popen[bytes]) -> None:
        given = {"mark": self._mark.decode(), "sources": [asdict(source) for source in self._sources]}
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.write(json.dumps(given).encode() + b"\n")
                process.stdin.flush()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Pass messages on; all else is only noted, however much of it there is."""
        noise = False
        if process.stdout is not None:
            with process.stdout as lines:
                while line := lines.readline(_LONGEST_LINE):
                    if line.startswith(self._mark):
                        self._messages.put({**json.loads(line.removeprefix(self._mark)), "writes": noise})
                        noise = noise and b'"phase"' in line  # what is written counts until the plugin is done
                    elif line.strip():
                        noise = True
        self._messages.put(None)

    def _on_message(self, process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        phase: dict[str, Any] | None = None
        while len(found) < len(self._sources):
            try:
                message = self._next(process, phase)
            except TimeoutError as error:
                return [*found, _trouble(str(error), phase)] if phase else found
            if message is None:
                return [*found, _trouble(_end_of(process), phase)] if phase else found
            if "phase" in message:
                phase = message
            else:
                found.append(_trouble(message["trouble"], phase) if phase and message["trouble"] else message)
                phase = None
        return found

    def _next(self, process: subprocess.Popen[bytes], phase: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the next message; ``None`` once the process has ended."""
        began, told, limit_s = time.monotonic(), False, self._limit_s if phase else START_S
        while (waited := time.monotonic() - began) < limit_s:
            with contextlib.suppress(queue.Empty):
                return self._messages.get(timeout=min(_GLANCE_S, limit_s - waited))
            if process.poll() is not None and self._messages.empty():
                return None  # its own children may still hold the other end of the pipe
            if phase and not told and waited > PATIENCE_S:
                told = True
                name = self._sources[phase["index"]].distribution
                _log.warning("waiting up to %.3g s for the plugin %s while %s", self._limit_s, name, phase["phase"])
        raise TimeoutError(f"it did not come back within {self._limit_s:.3g} s ({LIMIT_VARIABLE})")


def _limit() -> float:
    text = os.environ.get(LIMIT_VARIABLE) or str(LIMIT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{LIMIT_VARIABLE}: expected a positive number of seconds, got {text!r}")
    return seconds


def _trouble(what: str, phase: dict[str, Any] | None) -> dict[str, Any]:
    when = phase["phase"] if phase else ""
    return {"trouble": f"{what} while {when}", "phase": when, "writes": bool(phase and phase["writes"])}


def _end_of(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "it closed its output"
    if code >= 0:
        return f"it ended the process with exit code {code}"
    try:
        return f"it crashed the process ({signal.Signals(-code).name})"
    except ValueError:
        return f"it crashed the process (signal {-code})"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything that plugins have started in it."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
