"""What the installed plugins say about components; pages show it beside what records state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A component for readers.

    Attributes:
        kind: defense, attack, prior, ...
        name: registered name.
        summary: one line.
        paper: BibTeX, or empty.
        family: of a defense, how it means to protect; else empty.
        access: of an attack, what it uses of the target; of a defense, the attacker that it is meant to hold against.
        limits: known limits, one sentence each.
        distribution: the pip distribution that provides it.
    """

    kind: str
    name: str
    summary: str = ""
    paper: str = ""
    family: str = ""
    access: str = ""
    limits: tuple[str, ...] = ()
    distribution: str = ""


Library = Mapping[tuple[str, str], Method]
"""Methods by kind and name."""


def methods(library: Library, kind: str, name: str) -> list[Method]:
    """Return what is known of a component, or of each part of several that are used together (``a+b``)."""
    return [library[kind, part] for part in name.split("+") if (kind, part) in library]
