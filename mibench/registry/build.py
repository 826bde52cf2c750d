"""From an entry of a key to the component itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibench.api import params
from mibench.registry.registry import Registry

JOINT = "+"
"""Between the names of defenses that are used together."""


def build_component(registry: Registry, kind: str, entry: Mapping[str, Any]) -> Any:
    """Build a component from ``{"name", "params"}``; defenses used together have their parameters under their names."""
    names = entry["name"].split(JOINT)
    if len(names) > 1:
        from mibench.api.composition import Composition  # imports torch

        parts = {name: {"name": name, "params": entry["params"][name]} for name in names}
        return Composition({name: build_component(registry, kind, part) for name, part in parts.items()})
    owner = f"{kind} {entry['name']!r}"
    return params.build(registry.component(kind, entry["name"]), entry["params"], owner=owner)
