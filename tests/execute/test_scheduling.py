"""What executor ``local`` hands to whom and when, with workers that follow a script in the place of processes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_factory import make_node

from mibench.api.errors import MibenchError
from mibench.execute import inline, local
from mibench.execute.contract import ExecutorContext, NodeOutcomes
from mibench.execute.inline import Inline
from mibench.execute.local import Local
from mibench.nodes.marks import Ref
from mibench.nodes.node import Node
from mibench.registry.registry import Registry
from mibench.store.store import Store

FINISHED: list[dict[str, Any]] = [{"event": "finished"}]


class Told(Registry):
    """A registry that notes what watchers would be told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def notify(self, hook: str, **told: Any) -> None:
        self.events.append((hook.removeprefix("mibench_stage_"), {**told, "node": told["node"]["label"]}))

    def labels(self, event: str) -> list[str]:
        return [told["node"] for name, told in self.events if name == event]


class Shuffled:
    """An inbox: each worker's messages come in their order, those of several workers in any; without a seed, in theirs.

    What a worker says is there at once, so without a seed all that it says of a node comes together.
    """

    def __init__(self, seed: int | None) -> None:
        self.random = None if seed is None else random.Random(seed)
        self.letters: list[tuple[Any, Any]] = []

    def put(self, letter: tuple[Any, Any]) -> None:
        self.letters.append(letter)

    def get(self) -> tuple[Any, Any]:
        if self.random is None:
            return self.letters.pop(0)
        first = {id(worker): place for place, (worker, _) in reversed(list(enumerate(self.letters)))}
        return self.letters.pop(self.random.choice(sorted(first.values())))


class World:
    """Workers that do what is written for a node's label: messages, and ``None`` or a number for the death of one.

    Attributes:
        made: all workers that were started.
    """

    def __init__(self, script: Mapping[str, list[Any]], *, seed: int | None = None, births: Sequence[Any] = ()) -> None:
        self.script, self.inbox, self.births = script, Shuffled(seed), list(births)
        self.made: list[Any] = []

    def worker(self, store: Store, device: str, inbox: Any) -> Any:
        world = self

        class Scripted:
            def __init__(self) -> None:
                self.device, self.ready, self.began, self.code = device, False, 0.0, 0
                self.node: Node | None = None
                self.process = SimpleNamespace(wait=lambda: self.code)
                self.did: list[str] = []
                self.ends: list[str] = []
                self.say(world.births.pop(0) if world.births else {"event": "ready"})

            def say(self, message: Any) -> None:
                if isinstance(message, int):
                    self.code, message = message, None
                world.inbox.put((self, dict(message) if message else None))

            def submit(self, node: Node) -> None:
                assert self.ready
                assert self.node is None, "it is busy"
                self.node = node
                self.did.append(node.label)
                for message in world.script.get(node.label, FINISHED):
                    self.say(message)

            def release(self) -> None:
                self.ends.append("release")

            def wait(self) -> None:
                self.ends.append("wait")

        self.made.append(Scripted())
        return self.made[-1]

    def run(self, nodes: list[Node], folder: Path, workers: int = 2) -> tuple[NodeOutcomes, Told]:
        told = Told()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "_Worker", self.worker)
            patch.setattr(local, "queue", SimpleNamespace(Queue=lambda: self.inbox))
            return Local().run(nodes, ExecutorContext(Store(folder), told, "cpu", workers)), told


def chain(*labels: str) -> list[Node]:
    """Return nodes of which each needs the one before."""
    nodes: list[Node] = []
    for label in labels:
        nodes.append(dependent(label, nodes[-1:]))
    return nodes


def dependent(label: str, needs: list[Node]) -> Node:
    refs = {f"{place:03d}": Ref(node.key, ("evaluator",)) for place, node in enumerate(needs)}
    return make_node("measure", label, evaluators=refs, private=Ref(f"{label:x>64}", ("data",)))


def apart(*labels: str) -> list[Node]:
    return [dependent(label, []) for label in labels]


# Any graph


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], set[str]]:
    """Return nodes with random inputs among those before them, and the labels of those that fail."""
    nodes: list[Node] = []
    for place in range(draw(st.integers(1, 7))):
        before = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        nodes.append(dependent(f"n{place}", [nodes[one] for one in sorted(before)]))
    return nodes, draw(st.sets(st.sampled_from([node.label for node in nodes]), max_size=3))


def ancestors(nodes: list[Node]) -> dict[str, set[str]]:
    """Return by label the labels of all nodes that one needs, directly or not."""
    names, found = {node.key: node.label for node in nodes}, {}
    for node in nodes:
        direct = {names[key] for key in node.needs.values() if key in names}
        found[node.label] = direct.union(*(found[label] for label in direct))
    return found


@settings(max_examples=30)
@given(graphs(), st.integers(1, 4), st.integers(0, 2**16))
def test_what_runs_fails_and_is_skipped_in_any_graph(
    graph: tuple[list[Node], set[str]], workers: int, seed: int
) -> None:
    nodes, failing = graph
    script = {label: [{"event": "failed", "error": f"{label} is broken"}] for label in failing}
    world = World(script, seed=seed)
    outcome, told = world.run(nodes, Path("/nowhere"), workers)
    names, above = {node.key: node.label for node in nodes}, ancestors(nodes)
    doomed = {label for label in above if above[label] & failing}
    failed = {names[key]: error for key, error in outcome.failed.items()}
    assert failed == {label: f"{label} is broken" for label in failing - doomed}
    assert {names[key] for key in outcome.skipped} == doomed
    assert all(names[root] in above[names[key]] & set(failed) for key, root in outcome.skipped.items())
    assert {names[key] for key in outcome.seconds} == set(above) - failing - doomed
    assert all(seconds >= 0 for seconds in outcome.seconds.values())
    # An input is finished before what needs it begins, and nothing runs twice.
    finished: set[str] = set()
    for event, one in told.events:
        if event == "started":
            assert {label for label in above[one["node"]] if label in names.values()} <= finished
        if event == "finished":
            finished.add(one["node"])
    assert sorted(told.labels("started")) == sorted(set(above) - doomed)
    assert sorted(label for worker in world.made for label in worker.did) == sorted(told.labels("started"))
    assert len(world.made) == min(workers, len(nodes))
    assert all(worker.ends == ["release", "wait"] for worker in world.made)


@settings(max_examples=30)
@given(graphs(), st.integers(0, 2**16))
def test_worker_processes_come_to_the_same_end_as_one_process(graph: tuple[list[Node], set[str]], seed: int) -> None:
    nodes, failing = graph

    def run_node(node: Node, *_: object) -> None:
        if node.label in failing:
            raise MibenchError(f"{node.label} is broken")

    script = {label: [{"event": "failed", "error": f"{label} is broken"}] for label in failing}
    there, _ = World(script, seed=seed).run(nodes, Path("/nowhere"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inline, "run_node", run_node)
        here = Inline().run(nodes, ExecutorContext(Store(Path("/nowhere")), Told(), "cpu"))
    assert (there.failed, set(there.skipped)) == (here.failed, set(here.skipped))
    assert set(there.seconds) == set(here.seconds)


# Workers


def test_independent_nodes_run_at_the_same_time_and_dependent_ones_do_not(tmp_path: Path) -> None:
    world = World({})
    _, told = world.run(apart("a", "b"), tmp_path)
    assert [event for event, _ in told.events] == ["started", "started", "finished", "finished"]
    _, told = World({}).run(chain("a", "b"), tmp_path)
    assert [(event, one["node"]) for event, one in told.events] == [
        ("started", "a"), ("finished", "a"), ("started", "b"), ("finished", "b"),
    ]  # fmt: skip


def test_nodes_are_taken_in_their_order(tmp_path: Path) -> None:
    nodes = apart(*(f"n{place}" for place in range(6)))
    _, told = World({}).run(nodes, tmp_path, workers=1)
    assert told.labels("started") == [node.label for node in nodes]


@pytest.mark.parametrize(("workers", "nodes", "started"), [(1, 3, 1), (2, 3, 2), (5, 3, 3), (2, 1, 1)])
def test_there_are_no_more_workers_than_nodes(tmp_path: Path, workers: int, nodes: int, started: int) -> None:
    world = World({})
    world.run(apart(*(f"n{place}" for place in range(nodes))), tmp_path, workers)
    assert [worker.device for worker in world.made] == ["cpu"] * started


def test_what_a_stage_says_of_its_progress_reaches_watchers(tmp_path: Path) -> None:
    said = {"event": "progress", "done": 1, "total": 2, "unit": "epochs", "signals": {"loss": 0.5}}
    _, told = World({"a": [said, {"event": "finished"}]}).run(apart("a", "b"), tmp_path, workers=1)
    (progress,) = [one for event, one in told.events if event == "progress"]
    assert progress == {"node": "a", "done": 1, "total": 2, "unit": "epochs", "signals": {"loss": 0.5}}


@pytest.mark.parametrize(("code", "words"), [(-9, "signal 9"), (3, "exit code 3"), (0, "exit code 0")])
def test_a_worker_that_dies_fails_its_node_and_is_replaced(tmp_path: Path, code: int, words: str) -> None:
    world = World({"deadly": [code]})
    outcome, told = world.run([*apart("deadly"), *apart("b", "c")], tmp_path, workers=1)
    (error,) = outcome.failed.values()
    assert error == f"its worker process died ({words}); its checkpoints are kept, run the same command to continue"
    assert told.labels("finished") == ["b", "c"]
    assert [worker.did for worker in world.made] == [["deadly"], ["b", "c"]]
    assert [worker.ends for worker in world.made] == [["release"], ["release", "wait"]]
    assert world.made[1].device == world.made[0].device


def test_a_worker_that_dies_with_nothing_to_do_fails_no_node(tmp_path: Path) -> None:
    first, second, third = [*apart("a"), *chain("b", "c")]
    world = World({"a": [*FINISHED, -15]})
    outcome, told = world.run([first, second, third], tmp_path, workers=2)  # it dies while the other is at work on b
    assert (outcome.failed, outcome.skipped) == ({}, {})
    assert told.labels("finished") == ["a", "b", "c"]
    assert world.made[0].did == ["a"]
    assert len(world.made) == 3


def test_a_worker_that_dies_before_it_is_given_a_node_fails_that_node(tmp_path: Path) -> None:
    """Its end is known only after the node was handed over: the node has not been made, and says why."""
    outcome, _ = World({"a": [*FINISHED, -15]}).run(chain("a", "b", "c"), tmp_path, workers=1)
    (error,) = outcome.failed.values()
    assert error.startswith("its worker process died (signal 15)")
    assert len(outcome.skipped) == 1


@pytest.mark.parametrize("code", [1, -11])
def test_a_worker_that_cannot_start_ends_the_run(tmp_path: Path, code: int) -> None:
    world = World({}, births=[{"event": "ready"}, code])
    words = f"signal {-code}" if code < 0 else f"exit code {code}"
    with pytest.raises(RuntimeError) as told:
        # The first worker has work for as long as the second needs to say what became of it.
        world.run(apart(*map("n{}".format, range(40))), tmp_path, workers=2)
    assert str(told.value) == f"a worker could not start: its worker process died ({words}); its messages are above"
    assert all(worker.ends == ["release", "wait"] for worker in world.made)


def test_whatever_a_watcher_raises_the_workers_are_released(tmp_path: Path) -> None:
    class Broken(Told):
        def notify(self, hook: str, **told: Any) -> None:
            raise KeyboardInterrupt

    world = World({})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(local, "_Worker", world.worker)
        patch.setattr(local, "queue", SimpleNamespace(Queue=lambda: world.inbox))
        Local().run(apart("a"), ExecutorContext(Store(tmp_path), Broken(), "cpu", 2))
    assert [worker.ends for worker in world.made] == [["release", "wait"]]


def test_places_to_import_from_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(Path(local.mibench.__file__).parents[1])
    for place, expected in (
        (["", "/a", own, "/b"], f'["/a", "{own}", "/b"]'),
        (["", "/a"], f'["{own}", "/a"]'),  # the package lies in the working folder
    ):
        with monkeypatch.context() as patch:
            patch.setattr(local.sys, "path", place)
            assert local._places() == expected


def test_the_chain_of_a_cell_is_a_graph_like_any_other() -> None:
    """The builder of these tests makes what it says."""
    nodes = [*chain("a", "b", "c"), *apart("d")]
    assert ancestors(nodes) == {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": set()}
    assert len({node.key for node in nodes}) == 4
    assert all(one.key in later.needs.values() for one, later in itertools.pairwise(nodes[:3]))
