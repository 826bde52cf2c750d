"""Find a protocol by name, validate it, and compute its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

from pydantic import ValidationError

from mibench.api.errors import PluginError, UsageError
from mibench.api.plain import brief, misread
from mibench.api.specs import ProtocolSpec
from mibench.base.canonical import digest
from mibench.protocol.files import read_text
from mibench.protocol.schema import Protocol
from mibench.protocol.strict_yaml import parse_yaml
from mibench.registry.packages import path_inside

Variant = Literal["test", "validation"]


class Finder(Interface):
    """The part of the registry that is needed here."""

    def get(self, kind: str, name: str) -> Any:
        """Return the registered component."""

    def entries(self, kind: str) -> Any:
        """Return the registered components of a kind."""


OUTSIDE = {"expected_on", "expected_seconds", "follows", "presets", "resources"}
"""Fields of a protocol that change no number, and are left out of its digest."""


@dataclass(frozen=True)
class LoadedProtocol:
    """A protocol with its digest.

    Attributes:
        protocol: its content, with the overrides of the validation variant applied if asked for.
        variant: ``"test"`` or ``"validation"``.
        digest: sha256 of the canonical JSON of what it freezes: all but what only helps (``OUTSIDE``).
        text: the YAML as it was written.
        requested: what to give ``--protocol`` to get it again: ``name@version``, or the path of a file.
    """

    protocol: Protocol
    variant: Variant
    digest: str
    text: str
    requested: str

    @property
    def reported(self) -> Protocol:
        """Content of the ``"test"`` variant, on whose people results are reported."""
        return self.protocol if self.variant == "test" else parse_protocol(self.text, source=self.requested).protocol

    @property
    def tuned(self) -> Protocol | None:
        """Content of the ``"validation"`` variant, on whose people parameters are chosen; ``None`` without one."""
        return (
            parse_protocol(self.text, "validation", source=self.requested).protocol
            if self.protocol.validation
            else None
        )

    @property
    def id(self) -> str:
        """``name@version``, marked if it is the validation variant."""
        return self.protocol.id + ("" if self.variant == "test" else "+validation")


def load_protocol(registry: Finder, name: str, variant: Variant = "test") -> LoadedProtocol:
    """Load a protocol by ``name`` or ``name@version``, or from a YAML file for experiments that no board accepts.

    Raises:
        UsageError: for an unknown name or version, or a file that is not a valid protocol.
        PluginError: if the file is not the protocol that its plugin announces.
    """
    if name.lower().endswith((".yaml", ".yml")):
        text = read_text(Path(name), "the protocol file")
        return parse_protocol(text, variant, source=name, requested=name)
    spec = installed(registry, name).spec
    loaded = parse_protocol(protocol_path(spec).read_text(encoding="utf-8"), variant, source=spec.name)
    if loaded.protocol.id != f"{spec.name}@{spec.version}":
        raise PluginError(
            f"its plugin announces the protocol {spec.name}@{spec.version}; the file is {loaded.protocol.id}"
        )
    return loaded


def installed(registry: Finder, name: str) -> Any:
    """Return the registered protocol called ``name@version``, or the newest version of that name alone.

    Raises:
        UsageError: for an unknown name or version.
    """
    bare, _, version = name.partition("@")
    versions = {entry.spec.version: entry for entry in registry.entries("protocol") if entry.spec.name == bare}
    found = versions.get(version) or registry.get("protocol", bare)
    if version and version != found.spec.version:
        raise UsageError(f"Protocol {bare!r} is installed in version {' and '.join(sorted(versions))}, not {version}.")
    return found


def parse_protocol(
    text: str, variant: Variant = "test", *, source: str = "protocol", requested: str | None = None
) -> LoadedProtocol:
    """Validate the YAML of a protocol.

    Raises:
        UsageError: if it is not valid YAML (see :func:`parse_yaml`) or not a valid protocol.
    """
    return _parse(text, variant, source, requested)


@lru_cache(maxsize=32)  # a plan looks at a protocol several times, and reading it takes some ten milliseconds
def _parse(text: str, variant: Variant, source: str, requested: str | None) -> LoadedProtocol:
    raw = parse_yaml(text, source)
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise UsageError(f"{source} is not a valid protocol: expected keys like 'name: smoke', got {kind}")
    over = raw.get("validation", {})
    if variant == "validation" and over == {}:
        raise UsageError(
            f"{source} has no validation variant: all its people are reported on. Choose parameters under another"
            " protocol, or without --variant validation on people of whom nothing is published."
        )
    if variant == "validation" and isinstance(over, dict):
        raw = merge(raw, over)
    try:
        protocol = Protocol.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{source} is not a valid protocol: {explain(error)}") from None
    if wrong := list(misread(raw, protocol)):
        told = "; ".join(f"{'.'.join(problem.path)} = {brief(problem.given)}: {problem.reason}" for problem in wrong)
        raise UsageError(f"{source} is not a valid protocol: {told}")
    found = digest(protocol.model_dump(mode="json", exclude=OUTSIDE))
    return LoadedProtocol(protocol, variant, found, text, requested or protocol.id)


def protocol_path(spec: ProtocolSpec) -> Path:
    """Return where a protocol's YAML lies.

    Raises:
        PluginError: if its plugin names no file of an installed package.
    """
    path = path_inside(spec.file)
    if path is None or not path.is_file():
        raise PluginError(
            f"protocol {spec.name!r} names the file {spec.file!r}; expected 'package:path' of a file in an installed"
            " package"
        )
    return path


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Override nested mappings key by key; everything else is replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def explain(error: ValidationError) -> str:
    """Render a validation error as ``place: problem`` lines."""
    return "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
