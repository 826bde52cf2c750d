"""Which preset of a component is meant: one that was asked for, the protocol's, or one of the component's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

from mibench.api.errors import MibenchError, UsageError, unknown
from mibench.protocol.load import load_protocol
from mibench.protocol.schema import PRESET_KINDS, Protocol

Parameters = Mapping[str, Any]


class Finder(Interface):
    """The part of the registry that is needed here."""

    def get(self, kind: str, name: str) -> Any:
        """Return a registered component."""

    def entries(self, kind: str) -> Any:
        """Return the registered components of a kind."""


@dataclass(frozen=True)
class Preset:
    """A named set of parameters of one component.

    Attributes:
        name: of the preset: one of the component's own, or that of a protocol.
        values: the parameters that differ from the defaults.
        place: where in which protocol it stands, for messages; empty for one of the component's own.
    """

    name: str
    values: Parameters
    place: str = ""


class Presets:
    """Finds presets of components.

    A component has presets of its own and, under the name of each protocol that has parameters for it, those. Of two
    with one name the protocol's counts.

    Args:
        registry: where installed protocols are found.
    """

    def __init__(self, registry: Finder) -> None:
        self._registry = registry
        self._loaded: dict[str, Protocol | None] = {}

    def choose(
        self, protocol: Protocol, kind: str, name: str, own: Mapping[str, Parameters], asked: str | None = None
    ) -> Preset | None:
        """Return the preset of a component that counts under a protocol; ``None`` for the component's defaults.

        Args:
            protocol: the protocol; it may be one that is not installed.
            kind: of the component.
            name: of the component.
            own: the presets of its class.
            asked: a preset that was asked for by name; by default the one that is named like the protocol, if any.

        Raises:
            UsageError: if there is none of the name that was asked for, or if the protocol refers to a preset or to
                another protocol that does not exist.
        """
        wanted = asked or protocol.name
        # A file may be a variation of the installed protocol of its name.
        sources = [protocol] if protocol.name == wanted else []
        installed = (self._installed(protocol.id) if sources else None) or self._installed(wanted)
        sources += [installed] if installed else []
        found = self._first(sources, wanted, kind, name, own)
        if found is None and wanted in own:
            return Preset(wanted, own[wanted])
        if found is None and asked:
            raise unknown(f"preset of {kind} {name!r}", asked, self.all(kind, name, own))
        return found

    def all(self, kind: str, name: str, own: Mapping[str, Parameters]) -> dict[str, Parameters]:
        """Return all presets of a component by name: its own, then those of installed protocols that can be read."""
        found = dict(own)
        for entry in self._registry.entries("protocol"):
            with contextlib.suppress(MibenchError, OSError, ValueError):
                installed = self._installed(entry.name)
                preset = self._first([installed] if installed else [], entry.name, kind, name, own)
                found |= {preset.name: preset.values} if preset else {}
        return found

    def installed(self) -> dict[str, Any]:
        """Return what installed protocols have for components, as plain JSON: all that :meth:`all` depends on."""
        found = {}
        for entry in self._registry.entries("protocol"):
            with contextlib.suppress(MibenchError, OSError, ValueError):
                if protocol := self._installed(entry.name):
                    found[protocol.id] = protocol.presets.model_dump(mode="json")
        return found

    def listed(self, protocol: Protocol) -> dict[tuple[str, str], str | Parameters]:
        """Return what a protocol has for components, by kind and name, with what it takes over from other protocols.

        Raises:
            UsageError: if one of these is not installed.
        """
        found: dict[tuple[str, str], str | Parameters] = {}
        for source in reversed(list(self._chain(protocol))):
            found |= {(kind, name): said for kind in PRESET_KINDS for name, said in source.presets.of(kind).items()}
        return found

    def _first(
        self, sources: list[Protocol], preset: str, kind: str, name: str, own: Mapping[str, Parameters]
    ) -> Preset | None:
        for source in (one for start in sources for one in self._chain(start)):
            said = source.presets.of(kind).get(name)
            if said is not None:
                place = f"protocol {source.id}, presets.{kind}.{name}"
                if isinstance(said, str) and said not in own:
                    raise UsageError(f"{place}: {unknown(f'preset of {kind} {name!r}', said, own)}")
                return Preset(preset, own[said] if isinstance(said, str) else said, place)
        return None

    def _chain(self, protocol: Protocol) -> Iterator[Protocol]:
        """Yield a protocol, the one that its presets are like, and so on."""
        seen: list[Protocol] = []
        while not any(protocol is one for one in seen):
            seen.append(protocol)
            yield protocol
            like = protocol.presets.like
            if like is None:
                return
            found = self._installed(like)
            if found is None:
                names = [entry.name for entry in self._registry.entries("protocol")]
                raise UsageError(f"protocol {protocol.id}, presets.like: {unknown('protocol', like, names)}")
            protocol = found

    def _installed(self, name: str) -> Protocol | None:
        if name not in self._loaded:
            known = {
                name for e in self._registry.entries("protocol") for name in (e.name, f"{e.spec.name}@{e.spec.version}")
            }
            self._loaded[name] = load_protocol(self._registry, name).protocol if name in known else None
        return self._loaded[name]
