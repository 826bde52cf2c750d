"""What tells runs of one component apart, and names for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mibench.base.canonical import digest
from mibench.results.differing_params import note_on, variant_of
from mibench.results.record import Record


def component_digest(record: Record, role: str) -> str:
    """Return 12 digits that identify a component's version of numbers and its parameters; empty if it is not stated."""
    part = record.components.get(role)
    return digest({"name": part.name, "version": part.version, "params": part.params})[:12] if part else ""


def attack_digest(record: Record) -> str:
    """Return digits that identify a record's attack and the prior that it attacked with."""
    return component_digest(record, "attack") + component_digest(record, "prior")


def by_attack(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by name, preset, version and parameters of their attack, under names that tell groups apart."""
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.cell.attack_label, attack_digest(record)].append(record)
    variants = {key: variant_of(group[0], "attack") for key, group in groups.items()}
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
