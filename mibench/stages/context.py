"""What a stage function is given: its node, its inputs, where to write, and how to report progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch

from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import Ref
from mibench.nodes.node import Node
from mibench.registry.build import Components
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry
from mibench.store.artifact import Artifact
from mibench.store.store import Store
from mibench.training.loop import Progress

In = TypeVar("In", bound=Inputs)


@dataclass(frozen=True)
class StageContext(Generic[In]):
    """The world of one stage, whose inputs are ``In``.

    Attributes:
        node: what to make.
        store: where inputs are.
        registry: where components are found.
        device: where to compute.
        draft: folder to write the artifact's files to.
        work: folder for checkpoints; it survives a crash and goes with the commit.
        progress: ``progress(done, total, unit, signals)``.
        components: those that the stage has built.
    """

    node: Node
    store: Store
    registry: Registry
    device: torch.device
    draft: Path
    work: Path
    progress: Progress
    components: Components = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", Components(self.registry))

    @property
    def inputs(self) -> In:
        """Everything that can change the numbers."""
        return cast(In, self.node.inputs)

    def artifact(self, ref: Ref) -> Artifact:
        """Return the artifact of a node that this one needs."""
        return find_artifact(self.store, ref)

    def component(self, kind: str, entry: Entry) -> Any:
        """Build a component, or return it if this stage has built it before."""
        return self.components.build(kind, entry)


def find_artifact(store: Store, ref: Ref) -> Artifact:
    """Return the artifact that a reference names.

    Raises:
        StoreError: if it is not there.
    """
    *others, last = ref.stages
    found = (store.find(stage, ref.key) for stage in others)
    return next((artifact for artifact in found if artifact is not None), None) or store.get(last, ref.key)
