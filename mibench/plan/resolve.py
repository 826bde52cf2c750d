"""From a name to a component with all its parameters: presets, protocol settings and overrides in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mibench.api import params
from mibench.api.errors import UsageError, unknown
from mibench.protocol.schema import Component
from mibench.registry.build import JOINT
from mibench.registry.registry import Registered, Registry


@dataclass(frozen=True)
class Resolved:
    """A component that takes part in a cell, or defenses used together.

    Attributes:
        registered: spec and distribution; of several, those of the first.
        component: the component's class.
        preset: named parameter set that was the starting point, if any.
        params: all parameters as plain JSON.
        overridden: whether the parameters differ from what the protocol froze, or else (also for a preset of an attack
            that was asked for by name) from the preset.
        asked: what to type to get it again: ``name``, or ``name/preset``.
        overrides: the parameters that the user set.
        parts: the defenses that are used together; empty for a single component.
    """

    registered: Registered
    component: type[Any]
    preset: str | None
    params: Mapping[str, Any]
    overridden: bool = False
    asked: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Resolved, ...] = ()

    @property
    def name(self) -> str:
        """Registered name; several names joined by ``+``."""
        return JOINT.join(part.name for part in self.parts) or self.registered.spec.name

    @property
    def version(self) -> str:
        """Version of the numbers."""
        return JOINT.join(part.version for part in self.parts) or self.registered.spec.version

    def entry(self) -> dict[str, Any]:
        """Return what of it enters a key."""
        return {"name": self.name, "version": self.version, "params": dict(self.params)}

    def build(self) -> Any:
        """Make the component."""
        if self.parts:
            return _compose({part.name: part.build() for part in self.parts})
        return params.build(self.component, self.params)

    def with_values(self, made: Any) -> Resolved:
        """Return the same component with the parameters of an instance."""
        if self.parts:
            parts = tuple(part.with_values(made.parts[part.name]) for part in self.parts)
            return replace(self, parts=parts, params={part.name: part.params for part in parts})
        return replace(self, params=params.canonical(made))


def join(parts: Sequence[Resolved], undefended: str) -> Resolved:
    """Return defenses used together as one.

    Args:
        parts: the defenses, in the order in which they were named.
        undefended: name of the protocol's control, which is no part of anything.

    Raises:
        UsageError: if one is named twice, is the control, or if they cannot be combined.
    """
    names = [part.name for part in parts]
    for name in names:
        if name == undefended:
            raise UsageError(f"{JOINT.join(names)}: {name!r} is the undefended control; leave it out.")
        if names.count(name) > 1:
            raise UsageError(f"{JOINT.join(names)}: {name!r} is named twice.")
    first = parts[0]
    joined = Resolved(
        first.registered,
        first.component,
        None,
        {part.name: part.params for part in parts},
        any(part.overridden for part in parts),
        JOINT.join(part.asked for part in parts),
        {f"{part.name}.{key}": value for part in parts for key, value in part.overrides.items()},
        tuple(parts),
    )
    joined.build()
    return joined


def _compose(parts: Mapping[str, Any]) -> Any:
    from mibench.api.composition import Composition  # imports torch

    return Composition(parts)


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
