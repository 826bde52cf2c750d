"""From records to rows: one for each model and defense with its parameters; worst attack, mean over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from mibench.leaderboard.differences import not_above_lookalike, scores_by_identity
from mibench.leaderboard.estimates import Estimate, estimate, mean_control, robust_accuracies, worst_attack_accuracy
from mibench.leaderboard.evidence import reported
from mibench.leaderboard.met import Attacks, completing_command, flag_ids, met
from mibench.leaderboard.row import Found, Maximum, Row
from mibench.leaderboard.variants import attack_digest, by_attack, component_digest, is_baseline
from mibench.protocol.schema import Protocol
from mibench.results.columns import clean_accuracy
from mibench.results.differences import to_control
from mibench.results.differing_params import note_on, preset_note, variant_of
from mibench.results.flags import UNRANKED, WEAK, compute_flags
from mibench.results.normalize import headline, normalized_leakage
from mibench.results.people import Scores
from mibench.results.record import Flag, Record
from mibench.results.words import chance
from mibench.results.worst_case import max_interval, on_most_people, worst_case

FEWER = "fewer-attacks"
"""Flag of a row that met fewer attacks than another of its board: a worst case over fewer is lower by that alone."""


def make_rows(records: Iterable[Record], protocol: Protocol | None = None, *, each_attack: bool = False) -> list[Row]:
    """Group finished records by protocol, model and defense, and summarise each group. Order is that of first sight.

    Args:
        records: of any protocols.
        protocol: the board's. A row that has not met all attacks of its suite, or where it has none, none of those
            whose settings it froze, has no rank. ``None`` asks for no attack.
        each_attack: a row for each attack, baselines included, instead of their worst case; asks for no attack either.
    """
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "done" and headline(record) is not None:
            attack = (record.cell.attack_label, attack_digest(record)) if each_attack else ()
            groups[*_group(record), *attack].append(record)
    return _with_notes([_row(group, protocol, judged=not each_attack) for group in groups.values()])


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


class _Worst(NamedTuple):
    """The attack of several that leaks most."""

    name: str
    records: Sequence[Record]
    leakage: Estimate
    scores: Scores


def _worst(attacks: Attacks, *, up: bool) -> _Worst:
    """Return the worst attack; the interval is that of the maximum, with all attacks on the same resampled people.

    An attack that met fewer people than another, as after one fold of two, is in neither.
    """
    [first, *_] = [record for group in attacks.values() for record in group]
    scores = scores_by_identity(attacks, first.protocol.headline)
    fullest = on_most_people(scores).attacks
    names = [name for name, identity in zip(attacks, scores.attacks, strict=True) if identity in fullest or not fullest]
    means = {name: made.value for name in names if (made := estimate(attacks[name], headline))}
    name = (min if up else max)(means, key=means.__getitem__)
    interval = max_interval(scores)
    if interval and up:
        interval = (-interval[1], -interval[0])
    return _Worst(name, attacks[name], Estimate(means[name], interval), scores)


def _row(records: Sequence[Record], protocol: Protocol | None, *, judged: bool) -> Row:
    first = records[0]
    attacks = by_attack([record for record in records if not is_baseline(record)] or records)
    found = met(attacks, protocol if judged else None)
    [lead, *_] = [metric for record in records if (metric := headline(record))]
    up = lead.higher_is_better
    worst = _worst(found.counted, up=up)
    defense = first.components.get("defense")
    floor, gold = (mean_control(worst.records, name) for name in ("floor", "gold"))
    once = list({record.cell.seed: record for record in reversed(records)}.values())
    alike = not_above_lookalike(found.counted)
    plain = protocol is not None and first.cell.defense == protocol.undefended.name
    return Row(
        protocol=f"{first.protocol.name}@{first.protocol.version}",
        model=first.cell.model,
        defense=first.cell.defense,
        defense_version=defense.version if defense else "",
        params=defense.params if defense else {},
        params_digest=component_digest(first, "defense"),
        leakage=worst.leakage,
        unit=lead.unit,
        higher_is_better=up,
        worst_attack=worst.name,
        difference=None if plain else to_control(found.counted, "undefended"),
        maximum=_maximum(worst, found.counted, up=up),
        worst_found=_worst_found(found.promised, up=up) if judged and protocol and protocol.suite else None,
        attack_accuracy=worst_attack_accuracy(found.counted.values()),
        normalized=None
        if floor is None or gold is None
        else normalized_leakage(worst.leakage.value, floor, gold, higher_is_better=up),
        accuracy=estimate(once, lambda record: clean_accuracy(record.metrics)),
        robust=robust_accuracies(once),
        floor=floor,
        lookalike=mean_control(worst.records, "lookalike"),
        gold=gold,
        chance=chance(lead.unit, lead.details),
        undefended=mean_control(worst.records, "undefended"),
        attacks=tuple(sorted(attacks)),
        seeds=tuple(sorted({record.cell.seed for record in worst.records})),
        classes=len(worst.scores.people),
        flags=(*_flags(records, worst), *found.flags, *([alike] if alike else [])),
        unranked=tuple(sorted((UNRANKED & flag_ids(worst.records)) | {flag.id for flag in found.flags})),
        missing=found.missing,
        complete_with=completing_command(first, found.missing) if found.missing else "",
        reported=reported(records),
        scores=worst.scores,
        records=tuple(records),
    )


def _maximum(worst: _Worst, attacks: Attacks, *, up: bool) -> Maximum | None:
    made = worst_case(worst.scores)
    if made is None:
        return None
    bias = -made.bias if up else made.bias
    names = dict(zip(worst.scores.attacks, attacks, strict=True))
    return Maximum(bias, worst.leakage.value - bias, {names[key]: share for key, share in made.best.items()})


def _worst_found(attacks: Attacks, *, up: bool) -> Found:
    worst = _worst(attacks, up=up)
    return Found(worst.leakage, worst.name)


def _flags(records: Sequence[Record], worst: _Worst) -> tuple[Flag, ...]:
    """Flags are computed again, so that a record cannot keep quiet about one; what it states comes on top.

    That an attack is too weak to judge a defense says nothing of a row in which a stronger one counts.
    """
    found: dict[str, Flag] = {}
    strongest = {id(record) for record in worst.records}
    for record in records:
        for flag in [*compute_flags(record), *record.flags]:
            if flag.id != WEAK or id(record) in strongest:
                found.setdefault(flag.id, flag)
    return tuple(found[identifier] for identifier in sorted(found))


def _with_notes(rows: Sequence[Row]) -> list[Row]:
    """Say what differs between rows of one defense and one model by name, or of which preset the two are."""
    twins: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        twins[row.protocol, row.model, row.defense].append(row)
    return [_noted(row, twins[row.protocol, row.model, row.defense]) for row in rows]


def _noted(row: Row, twins: Sequence[Row]) -> Row:
    notes = {}
    for role in ("defense", "model"):
        variants = [variant_of(twin.records[0], role) for twin in twins]
        own = row.records[0]
        notes[role] = note_on(variant_of(own, role), variants) or preset_note(own, role)
    told = [notes["defense"], f"model {notes['model']}" if notes["model"] else ""]
    return replace(row, note=", ".join(note for note in told if note))
