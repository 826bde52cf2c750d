"""The progress display: a life-cycle plugin like any other, drawing on stderr so that stdout stays clean."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from mibench.api.hookspecs import hookimpl
from mibench.cli.terminal import duration, note, wants_color
from mibench.results.display import brief, printable

HEARTBEAT_S = 30.0
UNKNOWN = Text("")


class ProgressDisplay:
    """One line per running stage: what, bar, done of total, elapsed, remaining, rate, signals.

    Without a terminal it prints a plain line when a stage ends, and one every half minute while it runs. Use it as a
    context manager around the run that it watches.
    """

    def __init__(self) -> None:
        self._live = _progress() if sys.stderr.isatty() else None
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, _PlainStage] = {}

    def __enter__(self) -> ProgressDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @hookimpl
    def mibench_stage_started(self, node: Mapping[str, str]) -> None:
        """Open a line for a stage."""
        if self._live and node["id"] not in self._tasks:
            label = escape(printable(node["label"], limit=60))
            fields: dict[str, Any] = {"stage": node["stage"], "unit": "", "signals": "", "seen": False}
            self._tasks[node["id"]] = self._live.add_task(label, total=None, **fields)
        self._lines.setdefault(node["id"], _PlainStage())

    @hookimpl
    def mibench_stage_progress(
        self, node: Mapping[str, str], done: int, total: int, unit: str, signals: Mapping[str, float]
    ) -> None:
        """Move a stage's bar."""
        self.mibench_stage_started(node)
        shown = "   ".join(f"{name.replace('_', ' ')} {brief(value)}" for name, value in signals.items())
        if self._live:
            # The first report may be a resumed stage's: counting it as done just now would promise too high a rate.
            task = self._live.tasks[self._live.task_ids.index(self._tasks[node["id"]])]
            if not task.fields["seen"]:
                self._live.reset(task.id, completed=done, total=total)
            self._live.update(
                task.id, completed=done, total=total, unit=unit, signals=escape(printable(shown)), seen=True
            )
        else:
            self._lines[node["id"]].heartbeat(node, f"{done}/{total} {unit}", shown)

    @hookimpl
    def mibench_stage_finished(self, node: Mapping[str, str], seconds: float) -> None:
        """Complete a stage's line."""
        self._end(node, f"done in {duration(seconds)}")

    @hookimpl
    def mibench_stage_failed(self, node: Mapping[str, str], error: str) -> None:
        """Mark a stage as failed."""
        self._end(node, f"failed: {error}", failed=True)

    def _end(self, node: Mapping[str, str], words: str, *, failed: bool = False) -> None:
        self.mibench_stage_started(node)
        line = self._lines.pop(node["id"])
        task_id = self._tasks.pop(node["id"], None)
        if self._live is None or task_id is None:
            line.write(node, words, line.signals)
        elif failed:
            self._live.update(task_id, signals=escape(printable(words)))
            self._live.stop_task(task_id)
        else:
            task = self._live.tasks[self._live.task_ids.index(task_id)]
            total = task.total or 1
            self._live.update(task_id, total=total, completed=total)


class _PlainStage:
    """The state of a stage's plain lines."""

    def __init__(self) -> None:
        self._started = self._spoke = time.monotonic()
        self.signals = ""

    def heartbeat(self, node: Mapping[str, str], words: str, signals: str) -> None:
        """Write a line if none was written for a while."""
        self.signals = signals
        if time.monotonic() - self._spoke >= HEARTBEAT_S:
            self.write(node, f"{words}, {duration(time.monotonic() - self._started)}", signals)

    def write(self, node: Mapping[str, str], words: str, signals: str) -> None:
        """Write a line."""
        self._spoke = time.monotonic()
        note(f"{node['stage']:<12}{printable(node['label'])}   {printable(words)}   {printable(signals)}".rstrip())


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:.0f}/{task.total:.0f} {task.fields['unit']}") if task.total else UNKNOWN


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed or not task.fields["unit"] or _has_failed(task):
            return UNKNOWN
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")


class _Remaining(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text(f"{duration(left)} left") if left and not task.finished and not _has_failed(task) else UNKNOWN


def _has_failed(task: Task) -> bool:
    return task.stop_time is not None and not task.finished


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.fields[stage]:<11}"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        _Count(),
        TimeElapsedColumn(),
        _Remaining(),
        _Rate(),
        TextColumn("{task.fields[signals]}"),
        console=Console(stderr=True, no_color=not wants_color(stderr=True), highlight=False, emoji=False),
        refresh_per_second=4,
    )
