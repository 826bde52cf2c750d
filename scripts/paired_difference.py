"""Print how far rows of a board lie apart, paired person by person.

Usage: python scripts/paired_difference.py PROTOCOL [--attack NAME ...] [--defense NAME ...] [--metric NAME]
           [--than DEFENSE | --than floor | --than gold | --than-attack NAME] [--from FOLDER]

Each defense is compared with another under the same attack, with one of its own controls, or with itself under another
attack. The rows of a board were measured on the same people, so that their difference may be told from 0 where their
own intervals overlap. Only seeds that both sides have are counted. The interval is that of the boards, a bootstrap over
people. What it leaves out: seeds are averaged, so the chance in training is not in it; with 20 people it is a tenth
narrower than Student's t; and of twenty rows without any difference, one is expected to exclude 0.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from mibench.api.errors import UsageError
from mibench.cli.terminal import echo, echo_table
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.variants import Variant, component_digest, note_on
from mibench.results.display import short
from mibench.results.intervals import Interval, class_interval, seed_average
from mibench.results.record import Record

Row = tuple[str, str, str]
"""Model, defense, and the digests of both with their parameters."""


@dataclass(frozen=True)
class Difference:
    """One row minus another.

    Attributes:
        value: mean over people of the seed averages; negative where the first row has the lower metric.
        ci95: its interval over people; ``None`` with fewer than two of them.
        seeds: the seeds that both rows have.
        people: people with a value in both.
    """

    value: float
    ci95: Interval | None
    seeds: tuple[int, ...]
    people: int


def difference(one: Sequence[Record], other: Sequence[Record], metric: str) -> Difference:
    """Subtract the per-person values of one row's records from another's, seed by seed.

    Raises:
        UsageError: if a row has two records of a seed, or the two have no seed, no person or no such metric in common.
    """
    ours, theirs = _by_seed(one), _by_seed(other)
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        raise UsageError("the two rows have no seed in common; run the missing cells")
    per_person = seed_average([_minus(ours[seed], theirs[seed], metric) for seed in seeds])
    present = [value for value in per_person if value is not None]
    if not present:
        raise UsageError("the two rows have no person in common")
    return Difference(fmean(present), class_interval(per_person), seeds, len(present))


def rows_of(records: Sequence[Record], attack: str, defenses: Sequence[str] = ()) -> dict[Row, list[Record]]:
    """Group the records of an attack by model and defense with their parameters, as boards do."""
    rows: defaultdict[Row, list[Record]] = defaultdict(list)
    for record in records:
        if record.cell.attack_label == attack and (not defenses or record.cell.defense in defenses):
            digests = component_digest(record, "model") + component_digest(record, "defense")
            rows[record.cell.model, record.cell.defense, digests].append(record)
    return dict(rows)


def main() -> None:
    """Print the table, least difference first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol")
    parser.add_argument("--attack", nargs="+", default=["ppa"], help="as boards write it, preset included: ppa/taa")
    parser.add_argument("--defense", nargs="+", default=[], help="default: all")
    parser.add_argument("--than", default="none", help="the defense to compare with, or a control: floor, gold")
    parser.add_argument("--than-attack", help="compare each defense with itself under this attack instead")
    parser.add_argument("--metric", help="default: the headline")
    parser.add_argument("--from", dest="folder", type=Path, default=Path("leaderboards"))
    arguments = parser.parse_args()
    try:
        _print(choose(arguments.folder, arguments.protocol)[0], arguments)
    except UsageError as error:
        parser.error(str(error))


def _print(board: BoardFolder, arguments: argparse.Namespace) -> None:
    records = [record for _, record in board.records()]
    metric = arguments.metric or next((record.protocol.headline for record in records), "")
    made = []
    for attack in arguments.attack:
        rows = rows_of(records, attack, arguments.defense)
        if not rows:
            raise UsageError(f"{board.id} has no such row; see: mibench leaderboard show {board.name} --by-attack")
        for row, own in rows.items():
            if other := _other(row, own, records, arguments):
                made.append((difference(own, other, metric), _name(own[0], rows), row[0], attack))
    if not made:
        raise UsageError(f"{board.id} has no {arguments.than_attack or arguments.than} to compare these rows with")
    made.sort(key=lambda line: line[0].value)
    echo_table(
        ("defense", "model", "attack", "difference", "seeds", "people"),
        [(name, model, attack, _text(gap), len(gap.seeds), gap.people) for gap, name, model, attack in made],
        title=f"{board.id}: {metric}, minus that of {arguments.than_attack or arguments.than}",
    )
    echo("mean over the seeds of both, paired by person [95 % over people]")


def _other(row: Row, own: list[Record], records: Sequence[Record], arguments: argparse.Namespace) -> list[Record]:
    """Return what to compare a row with; nothing for the row that all others are compared with."""
    model, defense, _ = row
    if arguments.than_attack:
        return rows_of(records, arguments.than_attack).get(row, [])
    if arguments.than in ("floor", "gold"):
        return [record.model_copy(update={"metrics": record.controls.get(arguments.than, {})}) for record in own]
    if defense == arguments.than:
        return []
    others = rows_of(records, own[0].cell.attack_label, [arguments.than]).items()
    return [record for other, group in others if other[0] == model for record in group]


def _by_seed(records: Sequence[Record]) -> dict[int, Record]:
    by_seed = {record.cell.seed: record for record in records}
    if len(by_seed) != len(records):
        cell = records[0].cell
        raise UsageError(f"{cell.defense} under {cell.attack_label} has several parameters; it is no single row")
    return by_seed


def _minus(one: Record, other: Record, metric: str) -> list[float | None]:
    if one.classes != other.classes or not {metric} <= one.metrics.keys() & other.metrics.keys():
        raise UsageError(f"the two rows do not have {metric} of the same people")
    pairs = zip(one.metrics[metric].per_class, other.metrics[metric].per_class, strict=True)
    return [None if a is None or b is None else a - b for a, b in pairs]


def _name(record: Record, rows: dict[Row, list[Record]]) -> str:
    own, cell = record.components["defense"], record.cell
    twins = [group[0].components["defense"] for row, group in rows.items() if row[:2] == (cell.model, cell.defense)]
    note = note_on(Variant(own.params, own.version), [Variant(twin.params, twin.version) for twin in twins])
    return f"{cell.defense} ({note})" if note else cell.defense


def _text(gap: Difference) -> str:
    ends = f" [{short(gap.ci95[0], 3)} {short(gap.ci95[1], 3)}]" if gap.ci95 else ""
    return short(gap.value, 3) + ends


if __name__ == "__main__":
    main()
