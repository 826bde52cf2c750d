"""Nodes of the plan: one per stage to run, keyed by everything that can change its numbers.

Execution details (device, workers, micro-batch, store) are not part of a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mibench.base.canonical import digest

KEY_VERSION = 1
"""Raise it when the meaning of a payload changes; all keys change with it."""

StageName = Literal["data", "prior", "evaluator", "pretrain", "target", "reconstruct", "gold", "measure"]


@dataclass(frozen=True)
class Node:
    """One unit of cached work.

    Attributes:
        stage: which stage makes it.
        payload: everything that can change its numbers, as plain JSON, keys of its inputs included.
        needs: role to key of each input.
        label: what people read.
        files: where the files lie whose digests are in payloads; not part of the key.
        key: sha256 of the canonical JSON of ``payload``.
    """

    stage: StageName
    payload: Mapping[str, Any]
    needs: Mapping[str, str]
    label: str
    files: Mapping[str, str] = field(default_factory=dict, compare=False)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", digest(self.payload))

    @property
    def id(self) -> str:
        """Short name: stage and the first digits of the key."""
        return f"{self.stage}:{self.key[:12]}"

    def summary(self) -> dict[str, str]:
        """Return what life-cycle hooks are told."""
        return {"id": self.id, "stage": self.stage, "key": self.key, "label": self.label}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON from which :meth:`from_json` makes the same node in another process."""
        return {
            "stage": self.stage,
            "payload": self.payload,
            "needs": dict(self.needs),
            "label": self.label,
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Node:
        """Rebuild a node."""
        return cls(raw["stage"], raw["payload"], raw["needs"], raw["label"], raw["files"])


def make_node(stage: StageName, label: str, needs: Mapping[str, Node], **inputs: Any) -> Node:
    """Make a node whose payload holds its inputs and the keys of what it needs."""
    keys = {role: node.key for role, node in sorted(needs.items())}
    payload = {"key_version": KEY_VERSION, "stage": stage, "needs": keys, **inputs}
    return Node(stage, payload, keys, label)
