"""From a name to a component with all its parameters: presets, protocol settings and overrides in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mibench.api import params
from mibench.api.errors import unknown
from mibench.protocol.schema import Component
from mibench.registry.registry import Registered, Registry


@dataclass(frozen=True)
class Resolved:
    """A component that takes part in a cell.

    Attributes:
        registered: spec and distribution.
        component: the component's class.
        preset: named parameter set that was the starting point, if any.
        params: all parameters as plain JSON.
        overridden: whether the parameters differ from what the protocol froze, or else from the preset.
        asked: what to type to get it again: ``name``, or ``name/preset``.
        overrides: the parameters that the user set.
    """

    registered: Registered
    component: type[Any]
    preset: str | None
    params: Mapping[str, Any]
    overridden: bool = False
    asked: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Registered name."""
        return self.registered.spec.name

    def entry(self) -> dict[str, Any]:
        """Return what of it enters a key."""
        return {"name": self.name, "version": self.registered.spec.version, "params": dict(self.params)}


def parse_choice(text: str) -> Component:
    """Read ``name`` or ``name/preset``."""
    name, _, preset = text.partition("/")
    return Component(name=name, preset=preset or None)


def resolve(
    registry: Registry, kind: str, choice: Component, *, protocol: str, overrides: Mapping[str, Any] | None = None
) -> Resolved:
    """Find a component and settle its parameters.

    The preset is the one that was asked for, else the one named like the protocol if the component has it, else none.

    Raises:
        UsageError: for an unknown name, preset, key, or a value out of range.
    """
    registered = registry.get(kind, choice.name)
    component = registry.component(kind, choice.name)
    presets = params.presets_of(component)
    preset = choice.preset or (protocol if protocol in presets else None)
    if preset is not None and preset not in presets:
        raise unknown(f"preset of {kind} {choice.name!r}", preset, presets)
    base = {**(presets[preset] if preset else {}), **choice.params}
    settings = {**base, **(overrides or {})}
    owner = f"{kind} {choice.name!r}"
    values = params.canonical(params.build(component, settings, owner=owner))
    default = params.canonical(params.build(component, base, owner=owner)) if overrides else values
    asked = f"{choice.name}/{choice.preset}" if choice.preset else choice.name
    changed = values != default
    return Resolved(registered, component, preset, values, changed, asked, dict(overrides or {}))
