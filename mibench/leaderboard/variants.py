"""What tells runs of one component apart, and names for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mibench.base.canonical import digest
from mibench.results.differing_params import variant_note
from mibench.results.record import Record


class Variant(NamedTuple):
    """What may differ between runs of one component: parameters, and the version of its numbers."""

    params: Mapping[str, Any]
    version: str


def component_digest(record: Record, role: str) -> str:
    """Return 12 digits that identify a component's version of numbers and its parameters; empty if it is not stated."""
    part = record.components.get(role)
    return digest({"name": part.name, "version": part.version, "params": part.params})[:12] if part else ""


def slot(record: Record) -> str:
    """Return what a board has room for once: a second run of it is a repetition, however its key came about."""
    cell = record.cell
    parts = [cell.model, *(component_digest(record, role) for role in ("model", "defense", "attack")), str(cell.seed)]
    return "/".join(parts)


def attack_digest(record: Record) -> str:
    """Return digits that identify a record's attack and the prior that it attacked with."""
    return component_digest(record, "attack") + component_digest(record, "prior")


def by_attack(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by name, preset, version and parameters of their attack, under names that tell groups apart."""
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.cell.attack_label, attack_digest(record)].append(record)
    variants = {key: _variant(group[0]) for key, group in groups.items()}
    named = {}
    for (label, identity), group in groups.items():
        twins = [variant for (other, _), variant in variants.items() if other == label]
        note = note_on(variants[label, identity], twins)
        named[f"{label} ({note})" if note else label] = group
    return named


def is_baseline(record: Record) -> bool:
    """Tell whether a record's attack optimises nothing and serves as a control."""
    part = record.components.get("attack")
    return part is not None and part.baseline


def _variant(record: Record) -> Variant:
    part = record.components.get("attack")
    return Variant(part.params, part.version) if part else Variant({}, "")


def note_on(own: Variant, twins: Sequence[Variant]) -> str:
    """Return what is particular about one of several variants; empty if there is but one."""
    parts = [note] if (note := variant_note(own.params, [twin.params for twin in twins])) else []
    if len({twin.version for twin in twins}) > 1:
        parts.append(f"version {own.version}")
    return ", ".join(parts)
