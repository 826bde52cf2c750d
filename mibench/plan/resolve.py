"""From a name to a component with all its parameters: presets, protocol settings and overrides in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mibench.api.errors import UsageError, unknown
from mibench.plan.facts import Facts, Settled, Traits
from mibench.protocol.schema import Component
from mibench.registry.entry import Entry
from mibench.registry.joint import join_names
from mibench.registry.registered import Registered


@dataclass(frozen=True)
class Resolved:
    """A component that takes part in a cell, or defenses used together.

    Attributes:
        registered: spec and distribution; of several, those of the first.
        traits: what the component's class says; of several, that of the first.
        preset: named parameter set that was the starting point, if any.
        settled: all parameters as plain JSON, and what the component says with them.
        overridden: whether the parameters differ from what the protocol froze, or else (also for a preset of an attack
            that was asked for by name) from the preset.
        requested: what to type to get it again: ``name``, or ``name/preset``.
        overrides: the parameters that the user set.
        parts: the defenses that are used together; empty for a single component.
    """

    registered: Registered
    traits: Traits
    preset: str | None
    settled: Settled
    overridden: bool = False
    requested: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Resolved, ...] = ()

    @property
    def name(self) -> str:
        """Registered name; several names joined by ``+``."""
        return join_names(part.name for part in self.parts) or self.registered.spec.name

    @property
    def version(self) -> str:
        """Version of the numbers."""
        return join_names(part.version for part in self.parts) or self.registered.spec.version

    @property
    def params(self) -> Mapping[str, Any]:
        """All parameters as plain JSON; of several, by the name of each."""
        return self.settled.params

    def entry(self) -> Entry:
        """Return what of it enters a key."""
        return Entry(self.name, self.version, dict(self.params))

    def start(self) -> Resolved:
        """Return the defense that this one starts from: the same component with other parameters."""
        earlier = Settled(**(self.settled.start or {"params": self.params}), files=self.settled.files)
        parts = tuple(replace(part, settled=Settled(earlier.params[part.name])) for part in self.parts)
        return replace(self, settled=earlier, parts=parts)


def join(facts: Facts, parts: Sequence[Resolved], undefended: str) -> Resolved:
    """Return defenses used together as one.

    Args:
        facts: of components.
        parts: the defenses, in the order in which they were named.
        undefended: name of the protocol's control, which is no part of anything.

    Raises:
        UsageError: if one is named twice, is the control, or if they cannot be combined.
    """
    names = [part.name for part in parts]
    for name in names:
        if name == undefended:
            raise UsageError(f"{join_names(names)}: {name!r} is the undefended control; leave it out.")
        if names.count(name) > 1:
            raise UsageError(f"{join_names(names)}: {name!r} is named twice.")
    first = parts[0]
    return Resolved(
        first.registered,
        first.traits,
        None,
        facts.join({part.name: part.settled for part in parts}),
        any(part.overridden for part in parts),
        join_names(part.requested for part in parts),
        {f"{part.name}.{key}": value for part in parts for key, value in part.overrides.items()},
        tuple(parts),
    )


def parse_choice(text: str) -> Component:
    """Read ``name`` or ``name/preset``.

    Raises:
        UsageError: for a slash without a preset.
    """
    name, slash, preset = text.partition("/")
    if slash and not preset:
        raise UsageError(f"{text!r}: expected NAME or NAME/PRESET")
    return Component(name=name, preset=preset or None)


def resolve(
    facts: Facts, kind: str, choice: Component, *, protocol: str, overrides: Mapping[str, Any] | None = None
) -> Resolved:
    """Find a component and settle its parameters.

    The preset is the one that was asked for, else the one named like the protocol if the component has it, else none.

    Raises:
        UsageError: for an unknown name, preset, key, or a value out of range.
    """
    registered, traits = facts.registry.get(kind, choice.name), facts.traits(kind, choice.name)
    preset = choice.preset or (protocol if protocol in traits.presets else None)
    if preset is not None and preset not in traits.presets:
        raise unknown(f"preset of {kind} {choice.name!r}", preset, traits.presets)
    frozen = traits.names().flatten(choice.params, f"{kind} {choice.name!r}")
    base = {**(traits.presets[preset] if preset else {}), **frozen}
    settled = facts.settle(kind, choice.name, {**base, **(overrides or {})})
    default = facts.settle(kind, choice.name, base) if overrides else settled
    requested = f"{choice.name}/{choice.preset}" if choice.preset else choice.name
    changed = settled.params != default.params
    return Resolved(registered, traits, preset, settled, changed, requested, dict(overrides or {}))
