"""What measuring a cell again takes: what a bundle packs of it, and what has to be there or is made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mibench.nodes.classifier import EvaluatorInputs, TargetInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.gold import GoldInputs
from mibench.nodes.node import Node
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.plan.cells import Cell


@dataclass(frozen=True)
class Needs:
    """Nodes behind the numbers of a cell.

    Attributes:
        measures: every measurement, controls included.
        gold: held-out images, which are made from the data and never packed.
        packed: targets and reconstructions, those of controls included.
        judges: the evaluators, by role.
        data: pictures of people.
        private: those among them of the private people, which must be in no bundle.
    """

    measures: tuple[Node, ...]
    gold: tuple[Node, ...]
    packed: tuple[Node, ...]
    judges: Mapping[str, Node]
    data: tuple[Node, ...]
    private: tuple[Node, ...]


def needs_of(cell: Cell) -> Needs:
    """Return what a cell's numbers are measured from."""
    groups = (cell.measures, *cell.controls.values())
    measures = {node.key: node for group in groups for node in group.values()}
    found: dict[str, dict[str, Node]] = {}
    judges: dict[str, Node] = {}
    left = [*measures.values(), cell.target, cell.reconstructions]
    for node in left[:-2]:
        for role, key in node.needs.items():
            needed = cell.graph.nodes[key]
            if needed.stage == EvaluatorInputs.stage:
                judges[role] = needed
            else:
                found.setdefault(needed.stage, {})[key] = needed
    for node in left[-2:]:
        found.setdefault(node.stage, {})[node.key] = node
    gold = tuple(found.get(GoldInputs.stage, {}).values())
    data = dict(found.get(DataInputs.stage, {}))
    data |= {key: cell.graph.nodes[key] for node in gold for key in node.needs.values()}
    packed = [*found.get(TargetInputs.stage, {}).values(), *found.get(ReconstructInputs.stage, {}).values()]
    private = tuple(node for node in data.values() if _of(node, cell.graph.fixed.identities.private))
    return Needs(tuple(measures.values()), gold, tuple(packed), judges, tuple(data.values()), private)


def _of(node: Node, people: Sequence[int]) -> bool:
    return isinstance(node.inputs, DataInputs) and set(node.inputs.identities) <= set(people)
