"""The plan: which nodes have to run, which are reused and why, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mibench.api.errors import UsageError
from mibench.nodes.node import Node
from mibench.plan.cells import Cell, expand
from mibench.plan.durations import Durations
from mibench.plan.facts import Facts
from mibench.plan.known import check_node
from mibench.plan.provenance import made_by, sources_of
from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.store.artifact import Artifact
from mibench.store.stamp import differing
from mibench.store.store import Store


@dataclass(frozen=True)
class PlannedNode:
    """A node with what will happen to it.

    Attributes:
        node: the node.
        reused: whether its artifact exists.
        reason: why it is reused or has to run.
        estimate_s: expected seconds; ``None`` if nothing is known, 0 if reused.
    """

    node: Node
    reused: bool
    reason: str
    estimate_s: float | None

    @property
    def id(self) -> str:
        """Short name of the node."""
        return self.node.id

    @property
    def stage(self) -> str:
        """Stage of the node."""
        return self.node.stage

    @property
    def label(self) -> str:
        """What people read."""
        return self.node.label

    @property
    def key(self) -> str:
        """Cache key."""
        return self.node.key


@dataclass(frozen=True)
class Plan:
    """Cells and the nodes that answer them.

    Attributes:
        cells: what was asked for, with its controls.
        nodes: inputs before what needs them.
        store: where the nodes were looked up; it need not verify their checksums again when the plan is executed.
        missing: what has to be obtained before it can be run, one sentence each.
    """

    cells: Sequence[Cell]
    nodes: Sequence[PlannedNode]
    store: Store
    missing: Sequence[str] = ()

    @property
    def protocol_ids(self) -> list[str]:
        """Protocols of the plan, as ``name@version (digest)``."""
        ids = {cell.loaded.id: f"{cell.loaded.id} ({cell.loaded.digest[:6]})" for cell in self.cells}
        return list(ids.values())

    @property
    def machines(self) -> list[str]:
        """The machines that the protocols' estimates are of."""
        return sorted({cell.loaded.protocol.expected_on for cell in self.cells})

    @property
    def resources(self) -> dict[str, str]:
        """What runs under the protocols take, in words, by what is taken."""
        found: dict[str, list[str]] = {}
        for protocol in {cell.loaded.id: cell.loaded.protocol for cell in self.cells}.values():
            for what, words in protocol.resources.items():
                found.setdefault(what, []).append(words)
        return {what: "; ".join(dict.fromkeys(words)) for what, words in found.items()}

    @property
    def unlisted_seeds(self) -> list[str]:
        """What to know of seeds that the protocol does not list, one sentence each."""
        reported = [cell for cell in self.cells if cell.loaded.variant == "test"]
        told = (
            f"seed {cell.seed} is none of {cell.loaded.id} ({', '.join(map(str, seeds))}): boards take no record of it"
            for cell in reported
            if cell.seed not in (seeds := cell.loaded.protocol.seeds)
        )
        return list(dict.fromkeys(told))

    @property
    def to_run(self) -> list[Node]:
        """Nodes without an artifact, inputs first."""
        return [planned.node for planned in self.nodes if not planned.reused]


def make_plan(
    request: Request, registry: Registry, store: Store, facts: Facts | None = None, *, lenient: bool = False
) -> Plan:
    """Expand a request and look up what exists already.

    An input is only planned if something that needs it has to run: a shipped prior is enough, its training images
    are not rendered.

    Args:
        request: what is asked for.
        registry: where components are found.
        store: where artifacts are looked up.
        facts: of components, to share them between plans; by default those beside the store.
        lenient: whether files that are not there are listed in ``missing``; such a plan cannot be run.

    Raises:
        UsageError: for a request that cannot be served; it names every file that is missing.
    """
    facts = facts or Facts.beside(registry, store.root, lenient=lenient)
    cells = expand(request, registry, facts)
    planned, lacking = plan_nodes(cells, [node for cell in cells for node in _answers(cell)], store, facts)
    facts.memo.save()
    missing = list(dict.fromkeys([*facts.absent, *lacking]))
    if missing and not lenient:
        raise UsageError(" ".join(missing))
    return Plan(cells, planned, store, missing)


def plan_nodes(
    cells: Sequence[Cell], wanted: Iterable[Node], store: Store, facts: Facts
) -> tuple[list[PlannedNode], list[str]]:
    """Look up some nodes of cells, and of what has to run also what that needs.

    Returns:
        The nodes, inputs before what needs them, and what has to be obtained before they can run.

    Raises:
        UsageError: if a defense finds that it cannot train as the protocol does.
    """
    known: dict[str, Node] = {}
    durations: dict[str, Durations] = {}
    for cell in cells:
        known |= cell.graph.nodes
        durations |= dict.fromkeys(cell.graph.nodes, Durations(cell.loaded.protocol, facts))
    planned: dict[str, PlannedNode] = {}
    lacking: list[str] = []
    for node in {node.key: node for node in wanted}.values():
        _visit(node, known, store, planned, durations, facts, lacking)
    return list(planned.values()), lacking


def _answers(cell: Cell) -> Iterable[Node]:
    # Whatever a record states the digest of is among them, and made again if it is damaged.
    yield from cell.inputs.values()
    for group in (cell.measures, *cell.controls.values()):
        yield from group.values()


def _visit(
    node: Node,
    known: Mapping[str, Node],
    store: Store,
    planned: dict[str, PlannedNode],
    durations: Mapping[str, Durations],
    facts: Facts,
    lacking: list[str],
) -> None:
    if node.key in planned:
        return
    artifact = store.find(node.stage, node.key)
    if artifact is not None:
        planned[node.key] = PlannedNode(node, True, _where(artifact, node, store, facts.registry), 0.0)
        return
    lacking += check_node(node, facts)
    for key in node.needs.values():
        _visit(known[key], known, store, planned, durations, facts, lacking)
    planned[node.key] = PlannedNode(node, False, _why(node, store, facts.registry), durations[node.key].of(node))


def _where(artifact: Artifact, node: Node, store: Store, registry: Registry) -> str:
    """Say where an artifact is, and whether it was made by other source code; its plugin answers for what it ships."""
    if store.is_shipped(artifact):
        return "shipped with its plugin"
    changed = _changed(artifact, node, registry)
    return "in the store" + (
        f", made by other source code of {changed}; raise its version if the numbers differ" if changed else ""
    )


def _why(node: Node, store: Store, registry: Registry) -> str:
    """Say why a node has to run, and whether it continues."""
    if not store.has_checkpoint(node.key):
        return "not in the store"
    found = store.checkpoint_stamp(node.key)
    other = differing(found, made_by(registry, node.inputs))
    if not other:
        return "continues from a checkpoint"
    return "begins again: its checkpoint " + (
        f"was made by other {', '.join(other)}" if found else "does not say what made it"
    )


def _changed(artifact: Artifact, node: Node, registry: Registry) -> str:
    """Return what of an artifact's components has other source code now than when it was made, e.g. ``attack``."""
    made = artifact.meta.get("sources", {})
    now = sources_of(registry, node.inputs) if made else {}
    return ", ".join(role for role in sorted(made) if made[role] != now[role])
