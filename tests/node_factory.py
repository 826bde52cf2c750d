"""Builders of nodes: inputs of every stage with values of one's own where they matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mibench.nodes.classifier import EvaluatorInputs, PretrainInputs, TargetInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.gold import GoldInputs
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import Ref
from mibench.nodes.measure import MeasureInputs
from mibench.nodes.node import Node
from mibench.nodes.prior import PriorInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.protocol.schema import ImageShape, QueryBudget, Recipe
from mibench.protocol.split import PrivateSplit
from mibench.registry.entry import Entry

IMAGE = ImageShape(size=16, channels=1)
SPLIT = PrivateSplit(seed=7, train=4, val=1, test=2, identities=[1, 4, 5])
DATA, PRIOR, TARGET, EVALUATOR = (Ref(name[0] * 64, (name,)) for name in ("data", "prior", "target", "evaluator"))
_TRAINED: dict[str, Any] = {
    "model": Entry("tiny", "1", {"width": 3}),
    "recipe": Recipe(epochs=5, batch=5),
    "seed": 3,
    "image": IMAGE,
    "precision": "fp32",
}
_INPUTS: dict[str, Inputs] = {
    made.stage: made
    for made in (
        DataInputs(dataset=Entry("blobs", "1", {"identities": 12}), identities=[0, 2], image=IMAGE),
        PriorInputs(public=DATA, prior=Entry("linear", "2", {"steps": 12}), seed=0, image=IMAGE),
        PretrainInputs(public=DATA, classes=4, **_TRAINED),
        EvaluatorInputs(private=DATA, split=SPLIT, **_TRAINED),
        TargetInputs(private=DATA, split=SPLIT, defense=Entry("noisy", "1", {"lam": 0.25}), **_TRAINED),
        ReconstructInputs(
            target=TARGET, prior=PRIOR, attack=Entry("guess", "1", {}), seed=3, image=IMAGE, budget=QueryBudget()
        ),
        GoldInputs(private=DATA, split=SPLIT, split_name="test"),
        MeasureInputs(private=DATA, metric=Entry("hits", "1", {}), split=SPLIT, split_name="test"),
    )
}


def inputs(stage: str, **changes: Any) -> Inputs:
    """Return inputs of a stage; ``changes`` are fields of it."""
    return replace(_INPUTS[stage], **changes)


def make_node(stage: str, label: str = "a node", **changes: Any) -> Node:
    """Return a node of a stage."""
    return Node(inputs(stage, **changes), label)
