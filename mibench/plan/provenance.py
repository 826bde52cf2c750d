"""Which source code made an artifact: digests of the distributions of all components that a stage's payload names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mibench.registry.build import JOINT
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry
from mibench.results.canonical import digest

KINDS = {
    "dataset": "dataset",
    "prior": "prior",
    "model": "model",
    "defense": "defense",
    "attack": "attack",
    "metric": "metric",
    "embedder": "model",
}
"""Role in a payload to kind of component."""


def sources_of(registry: Registry, payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the source digest of each component of a payload, by role."""
    found = {role: payload[role]["name"].split(JOINT) for role in KINDS if isinstance(payload.get(role), Mapping)}
    return {
        role: joint_digest(registry, [registry.get(KINDS[role], name) for name in names])
        for role, names in found.items()
    }


def joint_digest(registry: Registry, entries: Sequence[Registered]) -> str:
    """Return the source digest of a component, or one for several that are used together."""
    digests = [registry.source_digest(entry) for entry in entries]
    return digests[0] if len(digests) == 1 else digest(digests)
