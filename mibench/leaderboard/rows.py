"""From records to rows: one for each model and defense with its parameters; worst attack, mean over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, NamedTuple

from mibench.protocol.schema import Component
from mibench.results.canonical import digest
from mibench.results.columns import attack_accuracies, clean_accuracy, robust_columns
from mibench.results.flags import OUTSIDE, UNRANKED, compute_flags
from mibench.results.intervals import Interval, pooled_interval
from mibench.results.normalize import control, headline, normalized_leakage
from mibench.results.record import Flag, MetricValue, Record
from mibench.results.variants import variant_note

UNLISTED = "no-listed-attack"
"""Flag of a row that no attack of the protocol was run against: others alone, weak ones even, cannot rank a defense."""


class Estimate(NamedTuple):
    """A number with its 95 % interval over classes.

    Attributes:
        value: mean over seeds.
        ci95: bootstrap over classes of the seed averages; ``None`` if it cannot be formed.
    """

    value: float
    ci95: Interval | None


class Variant(NamedTuple):
    """What may differ between runs of one component: parameters, and the version of its numbers."""

    params: Mapping[str, Any]
    version: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a board.

    Attributes:
        protocol: ``name@version``.
        model: architecture.
        defense: defense.
        defense_version: version of its numbers.
        params: its parameters.
        params_digest: first 12 digits of the digest of version and parameters.
        note: what tells this row from others of the same defense; empty if there are none.
        leakage: headline, worst case over attacks.
        higher_is_better: direction of the headline, from the defender's point of view.
        worst_attack: name of the attack that reached it, as in ``attacks``.
        attack_accuracy: top-1 under evaluators, worst case over attacks and evaluators.
        normalized: leakage between floor (0) and gold (1); ``None`` if the two cannot be told apart.
        accuracy: clean accuracy.
        robust: robust accuracy by radius times 255, smallest first.
        floor: headline on samples that nobody optimised.
        gold: headline on held-out private images.
        undefended: headline of the worst attack without a defense.
        attacks: names of the attacks that were run: bare with the protocol's settings, else with the preset, and with
            what differs if that does not tell two of them apart.
        seeds: target seeds behind the worst attack.
        classes: attacked classes.
        flags: computed flags of all records, one for each identifier.
        unranked: flags for which the row is shown without a rank.
        rank: shared by rows that cannot be told from the first of their group; 0 before ranking, and without a rank.
    """

    protocol: str
    model: str
    defense: str
    defense_version: str
    params: Mapping[str, Any]
    params_digest: str
    note: str = ""
    leakage: Estimate
    higher_is_better: bool
    worst_attack: str
    attack_accuracy: Estimate | None
    normalized: float | None
    accuracy: Estimate | None
    robust: Mapping[str, Estimate]
    floor: float | None
    gold: float | None
    undefended: float | None
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    classes: int
    flags: tuple[Flag, ...] = field(default=())
    unranked: tuple[str, ...] = ()
    rank: int = 0


def component_digest(record: Record, role: str) -> str:
    """Return 12 digits that identify a component's version of numbers and its parameters; empty if it is not stated."""
    part = record.components.get(role)
    return digest({"name": part.name, "version": part.version, "params": part.params})[:12] if part else ""


def make_rows(records: Iterable[Record], listed: Mapping[str, Component] | None = None) -> list[Row]:
    """Group finished records by protocol, model and defense, and summarise each group. Order is that of first sight.

    Args:
        records: of any protocols.
        listed: the attacks whose settings the protocol froze; a row with none of them has no rank.
    """
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "done" and headline(record) is not None:
            groups[_group(record)].append(record)
    return _with_notes([_row(group, listed or {}) for group in groups.values()])


def estimate(metrics: Sequence[MetricValue]) -> Estimate | None:
    """Return the mean over seeds with its interval; ``None`` without any value."""
    if not metrics:
        return None
    return Estimate(
        fmean(metric.value for metric in metrics), pooled_interval([metric.per_class for metric in metrics])
    )


def _group(record: Record) -> tuple[str, ...]:
    cell, protocol = record.cell, record.protocol
    where = (f"{protocol.name}@{protocol.version}", protocol.digest, protocol.variant, cell.model, cell.defense)
    return (*where, component_digest(record, "model"), component_digest(record, "defense"))


def _row(records: Sequence[Record], listed: Mapping[str, Component]) -> Row:
    first = records[0]
    by_attack = _by_attack(records)
    as_listed = any(record.cell.attack_label in listed for record in records)
    missing = [_unlisted(listed)] if listed and not as_listed else []
    promised = [group for group in by_attack.values() if OUTSIDE not in _flag_ids(group)]
    counted = promised or list(by_attack.values())
    worst = max(counted, key=_mean_leak)
    worst_name = next(name for name, group in by_attack.items() if group is worst)
    lead = [value for record in worst if (value := headline(record))]
    defense = first.components.get("defense")
    leakage = Estimate(fmean(metric.value for metric in lead), pooled_interval([metric.per_class for metric in lead]))
    floor, gold, undefended = (_control(worst, name) for name in ("floor", "gold", "undefended"))
    up = lead[0].higher_is_better
    once = list({record.cell.seed: record for record in reversed(records)}.values())
    return Row(
        protocol=f"{first.protocol.name}@{first.protocol.version}",
        model=first.cell.model,
        defense=first.cell.defense,
        defense_version=defense.version if defense else "",
        params=defense.params if defense else {},
        params_digest=component_digest(first, "defense"),
        leakage=leakage,
        higher_is_better=up,
        worst_attack=worst_name,
        attack_accuracy=_attack_accuracy(counted),
        normalized=None
        if floor is None or gold is None
        else normalized_leakage(leakage.value, floor, gold, higher_is_better=up),
        accuracy=estimate([value for record in once if (value := clean_accuracy(record.metrics))]),
        robust=_robust(once),
        floor=floor,
        gold=gold,
        undefended=undefended,
        attacks=tuple(sorted(by_attack)),
        seeds=tuple(sorted({record.cell.seed for record in worst})),
        classes=max(sum(value is not None for value in metric.per_class) for metric in lead),
        flags=(*_flags(records), *missing),
        unranked=tuple(sorted((UNRANKED & _flag_ids(worst)) | {flag.id for flag in missing})),
    )


def _by_attack(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by name, preset, version and parameters of their attack, under names that tell groups apart."""
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.cell.attack_label, component_digest(record, "attack")].append(record)
    variants = {key: _variant(group[0]) for key, group in groups.items()}
    named = {}
    for (label, identity), group in groups.items():
        twins = [variant for (other, _), variant in variants.items() if other == label]
        note = _note(variants[label, identity], twins)
        named[f"{label} ({note})" if note else label] = group
    return named


def _variant(record: Record) -> Variant:
    part = record.components.get("attack")
    return Variant(part.params, part.version) if part else Variant({}, "")


def _unlisted(listed: Mapping[str, Component]) -> Flag:
    return Flag(id=UNLISTED, text=f"not attacked as the protocol froze it: run it against {', '.join(sorted(listed))}")


def _mean_leak(records: Sequence[Record]) -> float:
    values = [value for record in records if (value := headline(record))]
    return fmean(-metric.value if metric.higher_is_better else metric.value for metric in values)


def _attack_accuracy(attacks: Iterable[Sequence[Record]]) -> Estimate | None:
    found = []
    for records in attacks:
        judged: defaultdict[str, list[MetricValue]] = defaultdict(list)
        for record in records:
            for judge, metric in attack_accuracies(record.metrics).items():
                judged[judge].append(metric)
        found += [made for metrics in judged.values() if (made := estimate(metrics))]
    return max(found, key=lambda made: made.value, default=None)


def _robust(records: Sequence[Record]) -> dict[str, Estimate]:
    by_eps: defaultdict[str, list[MetricValue]] = defaultdict(list)
    for record in records:
        for eps, metric in robust_columns(record.metrics).items():
            by_eps[eps].append(metric)
    return {eps: made for eps in sorted(by_eps, key=float) if (made := estimate(by_eps[eps]))}


def _control(records: Sequence[Record], name: str) -> float | None:
    values = [metric.value for record in records if (metric := control(record, name))]
    return fmean(values) if values else None


def _flags(records: Sequence[Record]) -> tuple[Flag, ...]:
    """Flags are computed again, so that a record cannot keep quiet about one; what it states comes on top."""
    found: dict[str, Flag] = {}
    for record in records:
        for flag in [*compute_flags(record), *record.flags]:
            found.setdefault(flag.id, flag)
    return tuple(found[identifier] for identifier in sorted(found))


def _flag_ids(records: Sequence[Record]) -> set[str]:
    return {flag.id for flag in _flags(records)}


def _with_notes(rows: Sequence[Row]) -> list[Row]:
    """Say what differs between rows of one defense."""
    twins: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        twins[row.protocol, row.model, row.defense].append(row)
    return [_noted(row, twins[row.protocol, row.model, row.defense]) for row in rows]


def _noted(row: Row, twins: Sequence[Row]) -> Row:
    variants = [Variant(twin.params, twin.defense_version) for twin in twins]
    return replace(row, note=_note(Variant(row.params, row.defense_version), variants))


def _note(own: Variant, twins: Sequence[Variant]) -> str:
    parts = [note] if (note := variant_note(own.params, [twin.params for twin in twins])) else []
    if len({twin.version for twin in twins}) > 1:
        parts.append(f"version {own.version}")
    return ", ".join(parts)
