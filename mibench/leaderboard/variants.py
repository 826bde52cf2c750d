"""What tells runs of one component apart, and names for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mibench.base.canonical import digest
from mibench.results.differing_params import note_on, variant_of
from mibench.results.record import Record

ROLES = ("attack", "prior")
"""What makes an attack: of other versions or parameters of either it is another one."""


def component_digest(record: Record, role: str) -> str:
    """Return 12 digits that identify a component's version of numbers and its parameters; empty if it is not stated."""
    part = record.components.get(role)
    return digest({"name": part.name, "version": part.version, "params": part.params})[:12] if part else ""


def attack_digest(record: Record) -> str:
    """Return digits that identify a record's attack and the prior that it attacked with."""
    return "".join(component_digest(record, role) for role in ROLES)


def by_attack(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by name, preset, version and parameters of their attack and its prior, under names that differ."""
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.cell.attack_label, attack_digest(record)].append(record)
    named = {}
    for (label, _), group in groups.items():
        twins = [other[0] for (name, _), other in groups.items() if name == label]
        on_attack, on_prior = (
            note_on(variant_of(group[0], role), [variant_of(twin, role) for twin in twins]) for role in ROLES
        )
        note = ", ".join(part for part in (on_attack, on_prior and f"prior {on_prior}") if part)
        named[f"{label} ({note})" if note else label] = group
    return named


def is_baseline(record: Record) -> bool:
    """Tell whether a record's attack optimises nothing and serves as a control."""
    part = record.components.get("attack")
    return part is not None and part.baseline
