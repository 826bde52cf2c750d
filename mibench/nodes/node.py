"""Nodes of the plan: one per stage to run, keyed by everything that can change its numbers.

Execution details (device, workers, micro-batch, store) are not part of a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mibench.base.canonical import digest
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import Ref
from mibench.nodes.table import read_inputs


@dataclass(frozen=True)
class Node:
    """One unit of cached work.

    Attributes:
        inputs: everything that can change its numbers.
        label: what people read.
        files: where the files lie whose digests are in payloads; not part of the key.
        payload: the inputs as plain JSON, keys of the nodes that it needs included.
        needs: role to key of each node that it needs.
        key: sha256 of the canonical JSON of ``payload``.
    """

    inputs: Inputs
    label: str
    files: Mapping[str, str] = field(default_factory=dict, compare=False)
    payload: Mapping[str, Any] = field(init=False, repr=False)
    needs: Mapping[str, str] = field(init=False, repr=False)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        payload = self.inputs.payload()
        for name, value in {"payload": payload, "needs": payload["needs"], "key": digest(payload)}.items():
            object.__setattr__(self, name, value)

    @property
    def stage(self) -> str:
        """Name of the stage that makes it."""
        return self.inputs.stage

    @property
    def ref(self) -> Ref:
        """What other nodes hold of it."""
        return Ref(self.key, (self.stage,))

    @property
    def id(self) -> str:
        """Short name: stage and the first digits of the key."""
        return f"{self.stage}:{self.key[:12]}"

    def summary(self) -> dict[str, str]:
        """Return what life-cycle hooks are told."""
        return {"id": self.id, "stage": self.stage, "key": self.key, "label": self.label}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON from which :meth:`from_json` makes the same node in another process."""
        return {"payload": self.payload, "label": self.label, "files": dict(self.files)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Node:
        """Rebuild a node."""
        return cls(read_inputs(raw["payload"]), raw["label"], raw["files"])
