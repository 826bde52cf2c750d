"""What a stage function is given: its node, its inputs, where to write, and how to report progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mibench.api.rng import seeded
from mibench.plan.node import Node
from mibench.registry.build import build_component
from mibench.registry.registry import Registry
from mibench.store.artifact import Artifact
from mibench.store.store import Store

Progress = Callable[[int, int, str, Mapping[str, float]], None]


@dataclass(frozen=True)
class StageContext:
    """The world of one stage.

    Attributes:
        node: what to make.
        store: where inputs are.
        registry: where components are found.
        device: where to compute.
        draft: folder to write the artifact's files to.
        work: folder for checkpoints; it survives a crash and goes with the commit.
        progress: ``progress(done, total, unit, signals)``.
    """

    node: Node
    store: Store
    registry: Registry
    device: torch.device
    draft: Path
    work: Path
    progress: Progress

    @property
    def payload(self) -> Mapping[str, Any]:
        """The inputs that the key is the digest of."""
        return self.node.payload

    def input(self, role: str) -> Artifact:
        """Return the artifact in a role."""
        return find_input(self.store, self.node, role)

    def component(self, kind: str, entry: Mapping[str, Any]) -> Any:
        """Build a component from ``{"name", "params"}``."""
        with seeded("component", kind, entry["name"]):
            return build_component(self.registry, kind, entry)


def find_input(store: Store, node: Node, role: str) -> Artifact:
    """Return the artifact that a node needs in a role.

    Raises:
        StoreError: if it is not there.
    """
    kind, key = role.partition(":")[0], node.needs[role]
    if kind == "evidence":
        return store.find("gold", key) or store.get("reconstruct", key)
    stages = {"private": "data", "public": "data", "start": node.payload.get("start", "")}
    return store.get(stages.get(kind, kind), key)
