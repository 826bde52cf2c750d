"""The contract of executors: a plan of tiny nodes, one that fails, hooks, and Ctrl-C in the middle."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar
from unittest import SkipTest
from unittest.mock import patch

from mibench.api.hookspecs import hookimpl
from mibench.execute.contract import Executor, ExecutorContext, NodeOutcomes
from mibench.nodes.node import Node
from mibench.store.store import Store
from mibench.testing.checks import require
from mibench.testing.component import ComponentContract
from mibench.testing.tiny_stages import TinyStages

_INFO = "mibench_tiny_world-0.dist-info"


class Watcher:
    """Writes down what the life-cycle hooks are told.

    Args:
        stop_after: interrupt the program, as Ctrl-C does, when so many stages have finished.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[tuple[str, str]] = []
        self.stop_after = stop_after

    @hookimpl
    def mibench_stage_started(self, node: Mapping[str, str]) -> None:
        """Note it."""
        self.events.append(("started", node["key"]))

    @hookimpl
    def mibench_stage_finished(self, node: Mapping[str, str]) -> None:
        """Note it."""
        self.events.append(("finished", node["key"]))
        if self.stop_after is not None and len(self.of("finished")) == self.stop_after:
            signal.raise_signal(signal.SIGINT)

    @hookimpl
    def mibench_stage_failed(self, node: Mapping[str, str]) -> None:
        """Note it."""
        self.events.append(("failed", node["key"]))

    def of(self, event: str) -> list[str]:
        """Return the keys of the nodes that something happened to, in order."""
        return [key for what, key in self.events if what == event]


class ExecutorContract(ComponentContract):
    """Subclass, set ``component``, and run with pytest.

    Attributes:
        workers: worker processes that the executor is offered.
    """

    workers: ClassVar[int] = 2

    def execute(self, stages: TinyStages, nodes: list[Node], watcher: Watcher) -> NodeOutcomes:
        """Run nodes of the tiny world."""
        executor = self.make()
        require(isinstance(executor, Executor), f"{type(executor).__name__} is no Executor")
        stages.registry.watch(watcher)
        try:
            with _announced(stages.root):
                ctx = ExecutorContext(Store(stages.root), stages.registry, "cpu", self.workers)
                outcome: NodeOutcomes = executor.run(nodes, ctx)
                return outcome
        finally:
            stages.registry.unwatch(watcher)

    def test_runs_a_plan(self) -> None:
        """Every node is made, inputs first, told to the hooks, and has the bytes that its stage writes here."""
        with self._stages() as stages, self._stages() as here:
            nodes, watcher = _plan(stages), Watcher()
            outcome = self.execute(stages, nodes, watcher)
            require(not outcome.failed and not outcome.skipped, f"nodes failed: {outcome.failed or outcome.skipped}")
            _require_order(nodes, watcher)
            keys = {node.key for node in nodes}
            require(set(outcome.seconds) == keys == set(watcher.of("finished")), "not every node was reported as made")
            for node in nodes:
                made = Store(stages.root).get(node.stage, node.key)
                require(
                    made.content == here.make(node).content, f"{node.id} has other bytes than its stage writes here"
                )

    def test_a_failure_costs_only_what_needs_it(self) -> None:
        """A node that raises is reported with its message; what needs it is skipped, and the rest is made."""
        with self._stages(undefended={"name": "tiny-failing"}) as stages:
            nodes, watcher = _plan(stages), Watcher()
            target, evidence = stages.cell.target.key, stages.cell.reconstructions.key
            outcome = self.execute(stages, nodes, watcher)
        require(
            "RuntimeError" in outcome.failed.get(target, ""), f"failed: {outcome.failed}; expected the target's error"
        )
        needing = {node.key for node in nodes if target in node.needs.values() or evidence in node.needs.values()}
        require(outcome.skipped == dict.fromkeys(needing, target), f"skipped: {outcome.skipped}")
        rest = {node.key for node in nodes} - {target} - needing
        require(set(outcome.seconds) == rest, "a node that needs nothing of the failed one was not made")
        require(set(watcher.of("failed")) == {target, *needing}, "the hooks were not told of every node that was lost")

    def test_an_interruption_ends_it(self) -> None:
        """Ctrl-C ends the run and keeps what is made; the same call then makes the rest."""
        if threading.current_thread() is not threading.main_thread():
            raise SkipTest("signals reach the main thread only")
        with self._stages() as stages:
            nodes, watcher = _plan(stages), Watcher(stop_after=1)
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                self.execute(stages, nodes, watcher)
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError("Ctrl-C was swallowed: the run went on to its end")
            finally:
                signal.signal(signal.SIGINT, before)
            made = [node for node in nodes if Store(stages.root).find(node.stage, node.key) is not None]
            require(bool(made), "what was finished before the interruption is gone")
            rest = [node for node in nodes if node not in made]
            outcome = self.execute(stages, rest, Watcher())
            require(not outcome.failed, f"after an interruption, nodes fail: {outcome.failed}")

    @contextmanager
    def _stages(self, **parts: object) -> Iterator[TinyStages]:
        with TemporaryDirectory(prefix="mibench-contract-") as root:
            yield TinyStages(self.world, Path(root) / "store", {}, **parts)


def _plan(stages: TinyStages) -> list[Node]:
    """Return the nodes of the cell, inputs before what needs them."""
    found: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for key in node.needs.values():
            visit(stages.cell.graph.nodes[key])
        found.setdefault(node.key, node)

    for node in stages.cell.measures.values():
        visit(node)
    return list(found.values())


def _require_order(nodes: list[Node], watcher: Watcher) -> None:
    for node in nodes:
        started = watcher.events.index(("started", node.key))
        for key in node.needs.values():
            require(
                ("finished", key) in watcher.events[:started],
                f"{node.id} was started before one of its inputs was made",
            )


@contextmanager
def _announced(root: Path) -> Iterator[None]:
    """Let worker processes find the tiny plugin as users' plugins are found: announced on the path."""
    info = root.parent / "site" / _INFO
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mibench-tiny-world\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[mibench]\ntiny = mibench.testing.tiny_plugin\n")
    with patch.object(sys, "path", [*sys.path, str(info.parent)]):
        yield
