"""From an entry of a key to the component itself."""

from __future__ import annotations

import json
from typing import Any

from mibench.api import params
from mibench.registry.entry import Entry
from mibench.registry.files import PREFIX, locate
from mibench.registry.registry import Registry


class Components:
    """Builds components, each once: settings are validated when a component is built.

    Args:
        registry: where components are found.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._built: dict[tuple[str, str, str], Any] = {}

    def build(self, kind: str, entry: Entry) -> Any:
        """Build a component from what a key states of it; several are built as one that uses them together.

        Digests in the place of files become paths again, those that ``registry.files`` holds.

        Raises:
            UsageError: for an unknown name, or parameters that it does not take.
        """
        if entry.parts:
            from mibench.api.composition import Composition  # imports torch

            return Composition({part.name: self.build(kind, part) for part in entry.parts})
        key = _key(kind, entry)
        if key not in self._built:
            from mibench.api.rng import seeded  # imports torch

            with seeded("component", kind, entry.name):  # what it draws moves nobody else's draws
                self._built[key] = self._make(kind, entry)
        return self._built[key]

    def remember(self, kind: str, entry: Entry, made: Any) -> None:
        """Note a component that was built already, from other words for the same parameters."""
        self._built.setdefault(_key(kind, entry), made)

    def _make(self, kind: str, entry: Entry) -> Any:
        component, values = self._registry.component(kind, entry.name), dict(entry.params)
        for name in params.file_parameters(component):
            if str(values.get(name, "")).startswith(PREFIX):
                values[name] = locate(values[name], self._registry.files)
        return params.build(component, values, owner=f"{kind} {entry.name!r}")


def build_component(registry: Registry, kind: str, entry: Entry) -> Any:
    """Build one component, as :meth:`Components.build`."""
    return Components(registry).build(kind, entry)


def _key(kind: str, entry: Entry) -> tuple[str, str, str]:
    return kind, entry.name, json.dumps(dict(entry.params), sort_keys=True, default=str)
