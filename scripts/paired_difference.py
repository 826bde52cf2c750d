"""Print how far rows of a board lie apart, paired person by person.

Usage: python scripts/paired_difference.py PROTOCOL [--attack NAME ...] [--defense NAME ...] [--metric NAME]
           [--than DEFENSE | --than CONTROL | --than-attack NAME] [--worst] [--seed S ...] [--from FOLDER]

Each defense is compared with another under the same attack, with one of its own controls, or with itself under another
attack, over the people and seeds that both sides have. Difference, interval and p are made as boards make them, for one
attack: see docs/statistics.md. Boards compare with the undefended target that was trained beside a row, on the same
machine (--than undefended); the default is the row "none", which is the same for all. "p by exchange" is that of the
sign-flip test over people, in which the chance in training is not. --seed takes these seeds alone, of a protocol with
folds the people of one of them, say. With --worst, a row's worst case over the attacks is compared with the other's,
without the bias of both maxima.
Nothing is corrected for the number of lines: of twenty without any difference, one is expected to exclude 0.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mibench.api.errors import MibenchError, UsageError, suggestion
from mibench.cli.terminal import echo, echo_table
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.variants import attack_digest, component_digest
from mibench.results.differing_params import defense_names
from mibench.results.display import short
from mibench.results.paired import Comparison, compare
from mibench.results.people import scores_of
from mibench.results.permutation import sign_flip
from mibench.results.record import Record

CONTROLS = ("undefended", "floor", "lookalike", "gold")
Row = tuple[str, str, str]
"""Model, defense, and the digests of both with their parameters."""


@dataclass(frozen=True)
class Gap:
    """One row minus another.

    Attributes:
        made: the comparison.
        exchange: p of the sign-flip test.
    """

    made: Comparison
    exchange: float | None


def difference(one: Sequence[Record], other: Sequence[Record], metric: str) -> Gap:
    """Compare a metric of one row's records with another's, by person and seed; of several attacks the worst case.

    Raises:
        UsageError: if a row has two records of a seed, or the two have no seed, no person or no such metric in common.
    """
    if not {record.cell.seed for record in one} & {record.cell.seed for record in other}:
        raise UsageError("the two rows have no seed in common; run the missing cells")
    if not all(metric in record.metrics for record in (*one, *other)):
        known = set[str].intersection(*({*record.metrics} for record in (*one, *other)))
        raise UsageError(
            f"{metric} is no column of both.{suggestion(metric, known)} They have: {', '.join(sorted(known))}"
        )
    ours, theirs = _by_attack(one), _by_attack(other)
    if len(ours) == len(theirs) == 1:  # a row under one attack may be compared with itself under another
        ours, theirs = ({"": records} for [records] in (ours.values(), theirs.values()))
    scores = [scores_of(attacks, metric) for attacks in (ours, theirs)]
    made = compare(scores[0], scores[1])
    if made is None:
        raise UsageError("the two rows have no person in common")
    return Gap(made, sign_flip(scores[0], scores[1]))


def rows_of(
    records: Sequence[Record], attacks: Sequence[str], names: Mapping[str, str], defenses: Sequence[str] = ()
) -> dict[Row, list[Record]]:
    """Group the records of attacks by model and defense with their parameters, as boards do.

    Args:
        records: of one board.
        attacks: as boards write them.
        names: by a record's key, its defense as tables write it: ``atat (direction=none)``.
        defenses: only those so called, with what tells them apart or without; empty is all.
    """
    rows: defaultdict[Row, list[Record]] = defaultdict(list)
    for record in records:
        called = {record.cell.defense, names[record.cell.key]}
        if record.cell.attack_label in attacks and (not defenses or called & {*defenses}):
            digests = component_digest(record, "model") + component_digest(record, "defense")
            rows[record.cell.model, record.cell.defense, digests].append(record)
    return dict(rows)


def main() -> None:
    """Print the table, least difference first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol")
    parser.add_argument("--attack", nargs="+", default=["ppa"], help="as boards write it, preset included: ppa/taa")
    parser.add_argument("--defense", nargs="+", default=[], help="as this prints it, or its name alone; default: all")
    parser.add_argument(
        "--than", default="none", help=f"the defense to compare with, or a control: {', '.join(CONTROLS)}"
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--than-attack", help="compare each defense with itself under this attack instead")
    either.add_argument("--worst", action="store_true", help="compare worst cases over all these attacks at once")
    parser.add_argument("--metric", help="default: the headline")
    parser.add_argument("--seed", nargs="+", type=int, default=[], help="default: all")
    parser.add_argument("--from", dest="folder", type=Path, default=Path("leaderboards"))
    arguments = parser.parse_args()
    try:
        _print(choose(arguments.folder, arguments.protocol)[0], arguments)
    except MibenchError as error:
        parser.error(str(error))


def _print(board: BoardFolder, arguments: argparse.Namespace) -> None:
    records = [record for _, record in board.records()]
    if missing := {*arguments.seed} - {record.cell.seed for record in records}:
        raise UsageError(f"{board.id} has no record of seed {min(missing)}")
    records = [record for record in records if not arguments.seed or record.cell.seed in arguments.seed]
    names = {record.cell.key: name for record, name in zip(records, defense_names(records), strict=True)}
    metric = arguments.metric or next((record.protocol.headline for record in records), "")
    made = []
    for attacks in [arguments.attack] if arguments.worst else [[attack] for attack in arguments.attack]:
        rows = rows_of(records, attacks, names, arguments.defense)
        rows = {row: own for row, own in rows.items() if len(_by_attack(own)) == len(attacks)}
        if not rows:
            raise UsageError(f"{board.id} has no such row; see: mibench leaderboard show {board.name} --by-attack")
        for row, own in rows.items():
            if other := _other(row, own, records, names, arguments):
                up = own[0].metrics[metric].higher_is_better if metric in own[0].metrics else False
                made.append((difference(own, other, metric), up, names[own[0].cell.key], row[0], " ".join(attacks)))
    if not made:
        raise UsageError(f"{board.id} has no {arguments.than_attack or arguments.than} to compare these rows with")
    made.sort(key=lambda line: -line[0].made.value if line[1] else line[0].made.value)
    echo_table(
        ("defense", "model", "attack", "difference", "p", "p by exchange", "seeds", "people"),
        [
            (
                name,
                model,
                attack,
                _text(gap, up),
                short(gap.made.p, 4),
                short(gap.exchange, 4),
                len(gap.made.seeds),
                gap.made.people,
            )
            for gap, up, name, model, attack in made
        ],
        title=f"{board.id}: {metric}, minus that of {arguments.than_attack or arguments.than}",
    )
    echo("mean over the seeds of both, paired by person and seed [95 %]")


def _other(
    row: Row, own: list[Record], records: Sequence[Record], names: Mapping[str, str], arguments: argparse.Namespace
) -> list[Record]:
    """Return what to compare a row with; nothing for the row that all others are compared with."""
    model, defense, _ = row
    if arguments.than_attack:
        return rows_of(records, [arguments.than_attack], names).get(row, [])
    if arguments.than in CONTROLS:
        return [record.model_copy(update={"metrics": record.controls.get(arguments.than, {})}) for record in own]
    if arguments.than in (defense, names[own[0].cell.key]):
        return []
    same = {attack_digest(record) for record in own}
    alike = [record for record in records if attack_digest(record) in same]
    others = rows_of(alike, [*_by_attack(own)], names, [arguments.than])
    found = [group for other, group in others.items() if other[0] == model]
    if found[1:]:
        told = ", ".join(sorted(repr(names[group[0].cell.key]) for group in found))
        raise UsageError(f"{arguments.than} is no single row; compare with one of: {told}")
    return found[0] if found else []


def _by_attack(records: Sequence[Record]) -> dict[str, list[Record]]:
    attacks: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        attacks[record.cell.attack_label].append(record)
    for name, group in attacks.items():
        if len({record.cell.seed for record in group}) != len(group):
            raise UsageError(f"{group[0].cell.defense} under {name} has several parameters; it is no single row")
    return dict(attacks)


def _text(gap: Gap, up: bool) -> str:
    """Write the difference in units of the metric: leakage is that with its sign turned where more is better."""
    sign, made = -1 if up else 1, gap.made
    ends = sorted(sign * end for end in made.ci95) if made.ci95 else []
    return short(sign * made.value, 3) + (f" [{short(ends[0], 3)} {short(ends[1], 3)}]" if ends else "")


if __name__ == "__main__":
    main()
