"""Telling apart runs of one component with different parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mibench.base.canonical import canonical_json
from mibench.results.record import Record


class Variant(NamedTuple):
    """What may differ between runs of one component: parameters, and the version of its numbers."""

    params: Mapping[str, Any]
    version: str


def variant_of(record: Record, role: str) -> Variant:
    """Return the variant of a record's component; one without parameters if the record does not state it."""
    part = record.components.get(role)
    return Variant(part.params, part.version) if part else Variant({}, "")


def note_on(own: Variant, twins: Sequence[Variant]) -> str:
    """Return what is particular about one of several variants; empty if there is but one."""
    parts = [note] if (note := variant_note(own.params, [twin.params for twin in twins])) else []
    if len({twin.version for twin in twins}) > 1:
        parts.append(f"version {own.version}")
    return ", ".join(parts)


def preset_note(record: Record, role: str = "defense") -> str:
    """Say ``"preset <name>"`` for another preset than the protocol's: `negls/ls-half` is no `negls`."""
    part = record.components.get(role)
    named = part.preset if part else None
    return "" if named in (None, record.protocol.name) else f"preset {named}"


def defense_names(records: Sequence[Record]) -> list[str]:
    """Return the defense of each record by name, with what tells it from others of that name: ``atat (lam=0.2)``.

    Where nothing does, and it was run with a preset of its own, it is that: ``negls (preset ls-half)``.
    """
    variants: defaultdict[str, list[Variant]] = defaultdict(list)
    for record in records:
        if (variant := variant_of(record, "defense")) not in variants[record.cell.defense]:
            variants[record.cell.defense].append(variant)
    named = []
    for record in records:
        note = note_on(variant_of(record, "defense"), variants[record.cell.defense]) or preset_note(record)
        named.append(f"{record.cell.defense} ({note})" if note else record.cell.defense)
    return named


def variant_note(params: Mapping[str, Any], all_params: Sequence[Mapping[str, Any]]) -> str:
    """Return those parameters in which a component differs from its other runs, e.g. ``"lam=0.2"``; often nothing.

    A parameter that a run does not state has its default, whatever that is.

    >>> variant_note({"lam": 1}, [{"lam": 1}, {"lam": 1, "direction": "none"}])
    'direction=default'

    Args:
        params: parameters of the run to describe.
        all_params: parameters of all runs of that component, this one among them.
    """
    keys = sorted({key for one in all_params for key in one})
    varying = [key for key in keys if len({_stated(one, key) for one in all_params}) > 1]
    return ", ".join(f"{key}={params.get(key, 'default')}" for key in varying)


def _stated(params: Mapping[str, Any], key: str) -> str:
    return canonical_json(params[key]) if key in params else ""
