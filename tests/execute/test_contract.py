"""What every executor owes: failed inputs take along what needs them, and nothing else; one number of threads."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from node_factory import make_node

from mibench.api.errors import MibenchError, UsageError
from mibench.execute import contract, inline
from mibench.execute.contract import ExecutorContext, NodeOutcomes, cpu_threads, skip
from mibench.execute.explain import explain
from mibench.execute.inline import Inline
from mibench.execute.leases import device_slots
from mibench.execute.local import Local
from mibench.execute.signals import Stopped
from mibench.nodes.node import Node
from mibench.registry.registry import Registry
from mibench.store.store import Store

DATA = make_node("data", "data")
TARGET = make_node("target", "target", private=DATA.ref)
ATTACK = make_node("reconstruct", "attack", target=TARGET.ref)
MEASURE = make_node("measure", "measure", private=DATA.ref, evidence=ATTACK.ref)
APART = make_node("gold", "apart", private=DATA.ref)
CHAIN = [DATA, TARGET, ATTACK, MEASURE, APART]


class Told(Registry):
    """A registry that notes what watchers would be told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def notify(self, hook: str, **told: Any) -> None:
        self.events.append((hook.removeprefix("mibench_stage_"), told["node"]["label"], str(told.get("error", ""))))


@pytest.fixture()
def ctx(tmp_path: Path) -> ExecutorContext:
    return ExecutorContext(Store(tmp_path / "store"), Told(), "cpu")


def events(ctx: ExecutorContext) -> list[tuple[str, str, str]]:
    assert isinstance(ctx.registry, Told)
    return ctx.registry.events


def running(monkeypatch: pytest.MonkeyPatch, **results: BaseException) -> list[str]:
    """Let nodes run by doing nothing, or raise what is given for their label; return the labels in order."""
    ran: list[str] = []

    def run_node(node: Node, *_: object) -> None:
        ran.append(node.label)
        if node.label in results:
            raise results[node.label]

    monkeypatch.setattr(inline, "run_node", run_node)
    return ran


def test_what_fails_takes_along_what_needs_it_and_no_more(
    ctx: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = running(monkeypatch, target=MibenchError("no memory"))
    outcome = Inline().run(CHAIN, ctx)
    assert ran == ["data", "target", "apart"]
    assert outcome.failed == {TARGET.key: "no memory"}
    assert outcome.skipped == {ATTACK.key: TARGET.key, MEASURE.key: TARGET.key}  # the root, not the next above
    assert set(outcome.seconds) == {DATA.key, APART.key}
    assert events(ctx) == [
        ("started", "data", ""),
        ("finished", "data", ""),
        ("started", "target", ""),
        ("failed", "target", "no memory"),
        ("failed", "attack", "skipped: target failed"),
        ("failed", "measure", "skipped: target failed"),
        ("started", "apart", ""),
        ("finished", "apart", ""),
    ]


def test_a_component_that_ends_the_program_fails_its_node(
    ctx: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = running(monkeypatch, target=SystemExit(3))
    outcome = Inline().run([DATA, TARGET, APART], ctx)
    assert ran == ["data", "target", "apart"]
    assert outcome.failed[TARGET.key].startswith("defense 'noisy' tried to end the program instead of raising an error")


def test_a_signal_ends_the_run(ctx: ExecutorContext, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = running(monkeypatch, target=Stopped(signal.SIGTERM))
    with pytest.raises(Stopped):
        Inline().run(CHAIN, ctx)
    assert ran == ["data", "target"]


def test_nothing_to_run_needs_no_worker(ctx: ExecutorContext) -> None:
    assert Local().run([], ctx) == NodeOutcomes() == Inline().run([], ctx)


def test_a_failed_dependency_is_found_among_all_inputs() -> None:
    outcome = NodeOutcomes(failed={TARGET.key: "no"}, skipped={ATTACK.key: TARGET.key})
    found = [outcome.failed_dependency(node) for node in CHAIN]
    assert found == [None, None, TARGET.key, ATTACK.key, None]


def test_what_is_skipped_names_the_root_by_label_or_key() -> None:
    told, outcome = Told(), NodeOutcomes(failed={TARGET.key: "no"}, skipped={ATTACK.key: TARGET.key})
    skip(MEASURE, ATTACK.key, {TARGET.key: "target"}, outcome, told)
    skip(replace(MEASURE, label="again"), TARGET.key, {}, outcome, told)
    assert outcome.skipped[MEASURE.key] == TARGET.key
    assert [event[2] for event in told.events] == ["skipped: target failed", f"skipped: {TARGET.key} failed"]


def test_old_names_of_the_contract_warn() -> None:
    with pytest.warns(DeprecationWarning, match="contract.Session is called ExecutorContext now"):
        assert contract.Session is ExecutorContext
    with pytest.warns(DeprecationWarning, match="contract.Outcome is called NodeOutcomes now"):
        assert contract.Outcome is NodeOutcomes
    with pytest.raises(AttributeError, match="no attribute 'Sessions'"):
        _ = contract.Sessions


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_errors_of_mibench_are_told_as_they_are_and_others_with_type_and_place() -> None:
    assert explain(raised(MibenchError("the disk is full"))) == "the disk is full"
    told = explain(raised(ValueError("odd")))
    assert told.startswith("ValueError: odd (at ")
    assert f"{Path(__file__).name}:" in told
    assert explain(ValueError("never raised")) == "ValueError: never raised"


@pytest.mark.parametrize(
    ("node", "owner"),
    [
        (TARGET, "defense 'noisy'"),
        (ATTACK, "attack 'guess'"),
        (MEASURE, "metric 'hits'"),
        (make_node("prior"), "prior 'linear'"),
        (make_node("evaluator"), "model 'tiny'"),
        (DATA, "dataset 'blobs'"),
        (APART, "a component"),
        (None, "a component"),
    ],
)
def test_who_ends_the_program_is_named(node: Node | None, owner: str) -> None:
    assert explain(SystemExit(0), node).startswith(f"{owner} tried to end the program instead of raising an error: Sys")


@pytest.mark.parametrize("threads", ["many", "0", "-1", "1.5", "²"])
def test_a_wrong_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("MIBENCH_THREADS", threads)
    with pytest.raises(UsageError, match=f"MIBENCH_THREADS='{threads}': expected a whole number"):
        cpu_threads()


@pytest.mark.parametrize(("stated", "threads"), [(None, 2), ("", 2), ("1", 1), ("16", 16)])
def test_threads_are_two_unless_stated(monkeypatch: pytest.MonkeyPatch, stated: str | None, threads: int) -> None:
    monkeypatch.delenv("MIBENCH_THREADS", raising=False)
    if stated is not None:
        monkeypatch.setitem(os.environ, "MIBENCH_THREADS", stated)
    assert cpu_threads() == threads


@pytest.mark.parametrize(
    ("device", "workers", "gpus", "slots"),
    [
        ("auto", 3, 0, ["cpu"] * 3),
        ("cpu", 2, 4, ["cpu"] * 2),
        ("auto", 3, 2, ["cuda:0", "cuda:1"]),
        ("auto", 1, 2, ["cuda:0"]),
        ("cuda", 2, 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 2, 2, ["cuda:1", "cuda:1"]),
    ],
)
def test_device_slots(device: str, workers: int, gpus: int, slots: list[str]) -> None:
    assert device_slots(device, workers, gpus) == slots


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there(device: str) -> None:
    with pytest.raises(UsageError, match="no CUDA device"):
        device_slots(device, 1, 0)
