"""The progress display and the tables."""

from __future__ import annotations

import io
import sys

import pytest

from mibench.cli import progress
from mibench.cli.progress import ProgressDisplay
from mibench.cli.tables import plan_summary
from mibench.cli.terminal import duration, echo_grouped, short_path, table_lines
from mibench.registry.registry import Registry

NODE = {"id": "reconstruct:abc", "stage": "reconstruct", "key": "abc", "label": "ppa [bold]on[/bold] atat"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(display: ProgressDisplay) -> Registry:
    registry = Registry.from_modules()
    registry.watch(display)
    with display:
        registry.notify("mibench_stage_started", node=NODE)
        for done in (5, 6, 20):
            registry.notify(
                "mibench_stage_progress", node=NODE, done=done, total=20, unit="classes", signals={"loss": 0.25}
            )
        registry.notify("mibench_stage_finished", node=NODE, seconds=31.0)
        other = {**NODE, "id": "measure:x", "stage": "measure", "label": "reid"}
        registry.notify("mibench_stage_failed", node=other, error="out of memory")
    assert registry.failures == []
    return registry


def test_without_a_terminal_one_plain_line_per_stage(capsys):
    watch(ProgressDisplay())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "reconstruct ppa [bold]on[/bold] atat   done in 31 s   loss .25",
        "measure     reid   failed: out of memory",
    ]


def test_without_a_terminal_long_stages_give_a_sign_of_life(capsys, monkeypatch):
    monkeypatch.setattr(progress, "HEARTBEAT_S", 0.0)
    watch(ProgressDisplay())
    assert "5/20 classes, 0 s" in capsys.readouterr().err


def test_on_a_terminal_stages_are_lines_with_bars(monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    watch(ProgressDisplay())
    shown = screen.getvalue()
    for word in ("reconstruct", "ppa [bold]on[/bold] atat", "20/20 classes", "loss .25", "failed: out of memory", "━"):
        assert word in shown
    assert capsys.readouterr().out == ""


def test_a_resumed_stage_does_not_boast(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    display = ProgressDisplay()
    display.mibench_stage_progress(NODE, 900, 1000, "steps", {})
    display.mibench_stage_progress(NODE, 901, 1000, "steps", {})
    (task,) = display._live.tasks
    assert task.completed == 901
    assert task.speed is None or task.speed * task.elapsed < 10


@pytest.mark.parametrize("width", [None, 60])
def test_tables_align_and_wrap_the_last_column_only(width):
    long = "word " * 30
    lines = table_lines(["name", "summary"], [("a-rather-long-name", long), ("b", "x")], width=width)
    assert lines[0].index("summary") == lines[1].index("word") == lines[-1].index("x")
    assert (len(lines) == 3) == (width is None)
    assert width is None or all(len(line) <= width for line in lines)


def test_groups_stand_above_their_columns(capsys):
    echo_grouped(
        ["", "a group with a long name", "", "next"], ["", "x", "y", "z"], [["r", "1", "2", "3"], ["s", "oops"]]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].index("a group") == lines[1].index("x") == lines[2].index("1")
    assert lines[0].index("next") == lines[1].index("z") == lines[2].index("3")
    assert lines[3] == "s  oops"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (150, "2 min"), (7200, "2.0 h"), (None, "unknown")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_paths_are_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert short_path(tmp_path / "a" / "b") == "a/b"
    assert short_path(tmp_path.parent / "c") == "~/c"


def test_plan_summary_is_honest_about_unknown_times(pretence):
    nodes = pretence.plan.nodes
    assert plan_summary(pretence.plan).endswith("about 2 min")
    unknown = [type(node)(node.node, node.reused, node.reason, None) for node in nodes]
    pretence.plan.nodes = [nodes[1], unknown[2]]
    assert plan_summary(pretence.plan) == "2 stages: 0 reused, 2 to run, at least 2 min"
    pretence.plan.nodes = unknown
    assert plan_summary(pretence.plan) == "3 stages: 1 reused, 2 to run, time unknown"
    pretence.plan.nodes = nodes[:1]
    assert plan_summary(pretence.plan) == "1 stages: 1 reused, 0 to run"
