"""Which source code made an artifact or its checkpoints: digests of the distributions of a payload's components."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mibench.base.canonical import digest
from mibench.base.version import __version__
from mibench.registry.build import JOINT
from mibench.registry.packages import digest_of_sources
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry

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
STAMP = "made_by.json"
"""File beside checkpoints that says what made them."""


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


def made_by(registry: Registry, payload: Mapping[str, Any]) -> dict[str, str]:
    """Return what a stage's checkpoints depend on beside its key: the code of its components, of the core, of torch."""
    sources = {f"source code of the {role}": digest for role, digest in sources_of(registry, payload).items()}
    core = {
        "source code of mibench": f"{__version__} {digest_of_sources(['mibench'])}",
        "torch": metadata.version("torch"),
    }
    return sources | core


def read_stamp(work: Path) -> dict[str, Any]:
    """Return what made the checkpoints of a folder; empty if that is not known."""
    try:
        found = json.loads((work / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of ``wanted`` under which ``found`` states something else, or nothing."""
    return [name for name, value in wanted.items() if found.get(name) != value]
