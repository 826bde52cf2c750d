"""From an entry of a key to the component itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibench.api import params
from mibench.registry.files import PREFIX, locate
from mibench.registry.registry import Registry

JOINT = "+"
"""Between the names of defenses that are used together."""


def build_component(registry: Registry, kind: str, entry: Mapping[str, Any]) -> Any:
    """Build a component from ``{"name", "params"}``; defenses used together have their parameters under their names.

    Digests in the place of files become paths again, those that ``registry.files`` holds.
    """
    names = entry["name"].split(JOINT)
    if len(names) > 1:
        from mibench.api.composition import Composition  # imports torch

        parts = {name: {"name": name, "params": entry["params"][name]} for name in names}
        return Composition({name: build_component(registry, kind, part) for name, part in parts.items()})
    owner = f"{kind} {entry['name']!r}"
    component, values = registry.component(kind, entry["name"]), dict(entry["params"])
    for name in params.file_parameters(component):
        if str(values.get(name, "")).startswith(PREFIX):
            values[name] = locate(values[name], registry.files)
    return params.build(component, values, owner=owner)
