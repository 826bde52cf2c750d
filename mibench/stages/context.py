"""What a stage function is given: its node, its inputs, where to write, and how to report progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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
        return self.store.get(stage_of_role(role), self.node.needs[role])

    def component(self, kind: str, entry: Mapping[str, Any]) -> Any:
        """Build a component from ``{"name", "params"}``."""
        return build_component(self.registry, kind, entry)


def stage_of_role(role: str) -> str:
    """Return which stage makes the input in a role."""
    kind = role.partition(":")[0]
    return {"private": "data", "public": "data", "gold": "gold", "evidence": "reconstruct"}.get(kind, kind)
