"""Which parameters a component has under one protocol: as the protocol froze it, or as the request changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mibench.plan.facts import Facts
from mibench.plan.resolve import Resolved, join, parse_choice, resolve
from mibench.plan.settings import Settings
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.schema import Component
from mibench.registry.joint import is_joint, split_names


class Chooser:
    """Resolves components under one protocol.

    Attributes:
        loaded: the protocol as it was loaded.
        protocol: its content.
        facts: of components.
        undefended: the defense that stands for plain training, as the protocol froze it.

    Args:
        loaded: the protocol.
        facts: of components.
        settings: what the request sets.
    """

    def __init__(self, loaded: LoadedProtocol, facts: Facts, settings: Settings) -> None:
        self.loaded, self.protocol, self.facts = loaded, loaded.protocol, facts
        self._settings = settings
        plain = self.protocol.undefended
        self.undefended = replace(self.frozen("defense", plain), requested=plain.name)

    def frozen(self, kind: str, choice: Component) -> Resolved:
        """Resolve what the protocol froze: no setting of the request touches it."""
        return self._resolve(kind, choice, {})

    def changed(self, kind: str, choice: Component) -> Resolved:
        """Resolve a component with what the request sets of it."""
        self.facts.registry.get(kind, choice.name)
        return self._resolve(kind, choice, self._settings.overrides(kind, choice.name))

    def named(self, kind: str, text: str, frozen: Component | None) -> Resolved:
        """Resolve what was typed: a bare name is what the protocol froze under it, with a preset it is that preset.

        Args:
            kind: of the component.
            text: ``name``, ``name/preset``, or defenses joined by ``+``.
            frozen: what the protocol has under that name or in that place.

        Raises:
            UsageError: for an unknown name, preset or parameter, or defenses that cannot be combined.
        """
        if kind == "defense" and is_joint(text):
            parts = [self.named(kind, part, frozen) for part in split_names(text)]
            return join(self.facts, parts, self.undefended.name)
        choice = frozen if frozen and text == frozen.name else parse_choice(text)
        made = replace(self.changed(kind, choice), requested=text)
        another = kind == "attack" and choice is not frozen  # a preset by name is an attack of its own
        if frozen is None or frozen.name != made.name or another:
            return made
        return replace(made, overridden=made.params != self.frozen(kind, frozen).params)

    def _resolve(self, kind: str, choice: Component, overrides: Mapping[str, Any]) -> Resolved:
        made = resolve(self.facts, kind, choice, protocol=self.protocol.name, overrides=overrides)
        self.facts.registry.files.update(made.settled.files)
        return made
