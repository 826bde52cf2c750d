"""From records to rows: one for each model and defense with its parameters; worst attack, mean over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from mibench.leaderboard.estimates import Estimate, estimate, mean_control, robust_accuracies, worst_attack_accuracy
from mibench.leaderboard.evidence import reported
from mibench.leaderboard.variants import Variant, attack_digest, by_attack, component_digest, is_baseline, note_on
from mibench.protocol.schema import ComponentChoice
from mibench.results.columns import clean_accuracy
from mibench.results.flags import OUTSIDE, PEEKED, UNRANKED, compute_flags
from mibench.results.intervals import pooled_interval
from mibench.results.normalize import headline, normalized_leakage
from mibench.results.record import Flag, Record

UNLISTED = "no-listed-attack"
"""Flag of a row that no attack of the protocol was run against: others alone, weak ones even, cannot rank a defense."""
FEWER = "fewer-attacks"
"""Flag of a row that met fewer attacks than another of its board: a worst case over fewer is lower by that alone."""


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
        attacks: names of the attacks that were run, without baselines: bare with the protocol's settings, else with the
            preset, and with what differs if that does not tell two of them apart.
        seeds: target seeds behind the worst attack.
        classes: attacked classes.
        flags: computed flags of all records, one for each identifier.
        unranked: flags for which the row is shown without a rank.
        reported: columns that do not follow from per-class values and have to be believed.
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
    reported: tuple[str, ...] = ()
    rank: int = 0


def make_rows(
    records: Iterable[Record], listed: Mapping[str, ComponentChoice] | None = None, *, each_attack: bool = False
) -> list[Row]:
    """Group finished records by protocol, model and defense, and summarise each group. Order is that of first sight.

    Args:
        records: of any protocols.
        listed: the attacks whose settings the protocol froze; a row with none of them has no rank.
        each_attack: a row for each attack, baselines included, instead of their worst case.
    """
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "done" and headline(record) is not None:
            attack = (record.cell.attack_label, attack_digest(record)) if each_attack else ()
            groups[*_group(record), *attack].append(record)
    return _with_notes([_row(group, listed or {}) for group in groups.values()])


def flag_fewer(rows: Sequence[Row]) -> list[Row]:
    """Flag rows that met fewer attacks than the most attacked one, beside attacks outside of threat models."""
    most = max((len(row.attacks) for row in rows), default=0)
    text = "met {0} of the {1} attacks that another row met; a worst case over fewer is lower by that alone"
    return [
        row
        if len(row.attacks) == most
        else replace(row, flags=(*row.flags, Flag(id=FEWER, text=text.format(len(row.attacks), most))))
        for row in rows
    ]


def _group(record: Record) -> tuple[str, ...]:
    cell, protocol = record.cell, record.protocol
    where = (f"{protocol.name}@{protocol.version}", protocol.digest, protocol.variant, cell.model, cell.defense)
    return (*where, component_digest(record, "model"), component_digest(record, "defense"))


def _row(records: Sequence[Record], listed: Mapping[str, ComponentChoice]) -> Row:
    first = records[0]
    attacks = by_attack([record for record in records if not is_baseline(record)] or records)
    as_listed = any(record.cell.attack_label in listed for record in records)
    missing = [_unlisted(listed)] if listed and not as_listed else []
    promised = [group for group in attacks.values() if not {OUTSIDE, PEEKED} & _flag_ids(group)]
    counted = promised or list(attacks.values())
    worst = max(counted, key=_mean_leak)
    worst_name = next(name for name, group in attacks.items() if group is worst)
    lead = [value for record in worst if (value := headline(record))]
    defense = first.components.get("defense")
    leakage = Estimate(fmean(metric.value for metric in lead), pooled_interval([metric.per_class for metric in lead]))
    floor, gold, undefended = (mean_control(worst, name) for name in ("floor", "gold", "undefended"))
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
        attack_accuracy=worst_attack_accuracy(counted),
        normalized=None
        if floor is None or gold is None
        else normalized_leakage(leakage.value, floor, gold, higher_is_better=up),
        accuracy=estimate([value for record in once if (value := clean_accuracy(record.metrics))]),
        robust=robust_accuracies(once),
        floor=floor,
        gold=gold,
        undefended=undefended,
        attacks=tuple(sorted(attacks)),
        seeds=tuple(sorted({record.cell.seed for record in worst})),
        classes=max(sum(value is not None for value in metric.per_class) for metric in lead),
        flags=(*_flags(records), *missing),
        reported=reported(records),
        unranked=tuple(sorted((UNRANKED & _flag_ids(worst)) | {flag.id for flag in missing})),
    )


def _unlisted(listed: Mapping[str, ComponentChoice]) -> Flag:
    return Flag(id=UNLISTED, text=f"not attacked as the protocol froze it: run it against {', '.join(sorted(listed))}")


def _mean_leak(records: Sequence[Record]) -> float:
    values = [value for record in records if (value := headline(record))]
    return fmean(-metric.value if metric.higher_is_better else metric.value for metric in values)


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
    return replace(row, note=note_on(Variant(row.params, row.defense_version), variants))
