"""Print how small a difference between a defense and no defense a protocol can see, by leakage column.

Usage: python scripts/power.py PATH... [--attack NAME ...] [--defense NAME ...] [--metric NAME ...]
           [--people N ...] [--seeds S ...]

PATHs are records, or folders that hold them (those of a run, or a board's), of one protocol and with several seeds. A
value of person p at seed s is taken for a mean, an effect of the person, one of the seed, and a rest, each with a
variance of its own; the same of a defense's value minus that of the undefended target under the same attack, for the
same person and seed. Variances are those of the analysis of variance of a table of seeds by people (the estimate of a
component may be negative; it counts as 0), averaged over defenses and attacks; where some were measured with several
seeds, those with one, which cannot tell people from the rest, are left out. From those of the difference follow, for
each number of people and seeds per person:

  error       standard error of a mean difference: root of (people/P + seeds/S + rest/(P S))
  detectable  difference that a two-sided paired test at .05 finds in four cases of five: Student's t at .975 and at .8,
              with the degrees of freedom that such a measurement would have, times the error
  of span     the same as a share of the way from floor to gold
  of leak     the same as a share of what the undefended target leaks above the floor, which is all that a defense can
              take away: compare columns by this one, the smaller the better

Columns that are not known of two people on a defended and the undefended target are left out, unless --metric names
them.

What it leaves out: the maximum over attacks, corrections for many comparisons, and folds, with which seeds are others.
Use it on the validation variant to choose, so that nothing is chosen on people on whom results are reported.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import nan, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mibench.api.errors import MibenchError, UsageError
from mibench.cli.terminal import echo, echo_table
from mibench.leaderboard.variants import component_digest
from mibench.results.display import DASH
from mibench.results.io import load_record
from mibench.results.people import Floats, Scores, Stratum, scores_of
from mibench.results.record import Record
from mibench.results.spread import degrees
from mibench.results.student import quantile

LEVEL, POWER = 0.05, 0.8


class Components(NamedTuple):
    """Variances of the parts of a value; not a number where they cannot be told.

    Attributes:
        people: between people. With one seed the rest is in it.
        seeds: between seeds.
        rest: what is left.
    """

    people: float
    seeds: float
    rest: float

    def whole(self) -> Components:
        """Return variances that can be: 0 in the place of those that are negative or unknown."""
        return Components(*(max(0.0, part) if part == part else 0.0 for part in self))


class Design(NamedTuple):
    """How much is measured.

    Attributes:
        people: number of people.
        seeds: number of target seeds for each of them.
    """

    people: int
    seeds: int


class Row(NamedTuple):
    """What is known of a column.

    Attributes:
        metric: its name.
        values: components of values.
        gaps: components of paired differences to the undefended target.
        rows: how many differences (of a defense under an attack) they are the mean of.
        span: mean of gold minus that of floor, in the direction of leakage; not a number without both.
        leak: the same of the undefended target minus floor.
    """

    metric: str
    values: Components
    gaps: Components
    rows: int
    span: float
    leak: float


def components(values_SP: Floats, strata: Sequence[Stratum]) -> Components:
    """Return the variance components of a table of seeds by people.

    People who lack a seed of their fold are left out. Folds are averaged by their people.

    Args:
        values_SP: the values; NaN is not measured.
        strata: seeds and people of each fold.
    """
    found, weights = [], []
    for stratum in strata:
        part_SP = values_SP[np.ix_(stratum.seeds, stratum.people)]
        part_SP = part_SP[:, ~np.isnan(part_SP).any(axis=0)]
        if part_SP.shape[1] > 1:
            found.append(_components(part_SP))
            weights.append(part_SP.shape[1])
    return _mean(found, weights)


def _components(values_SP: Floats) -> Components:
    seeds, people = values_SP.shape
    means_S, means_P, mean = values_SP.mean(axis=1), values_SP.mean(axis=0), values_SP.mean()
    between_people = float(((means_P - mean) ** 2).sum()) / (people - 1)
    if seeds < 2:
        return Components(between_people, nan, nan)
    rest = float(((values_SP - means_S[:, None] - means_P + mean) ** 2).sum()) / ((seeds - 1) * (people - 1))
    between_seeds = float(((means_S - mean) ** 2).sum()) / (seeds - 1)
    return Components(between_people - rest / seeds, between_seeds - rest / people, rest)


def standard_error(parts: Components, design: Design) -> float:
    """Return the standard error of a mean over people and seeds."""
    people, seeds, rest = parts.whole()
    return sqrt(people / design.people + seeds / design.seeds + rest / (design.people * design.seeds))


def detectable(parts: Components, design: Design) -> float:
    """Return the smallest difference that a paired test at the level of .05, two-sided, finds with a power of 80 %.

    Degrees of freedom are those of the boards' intervals (``mibench.results.spread``) for a measurement of that size
    whose components are these: Satterthwaite's, the smaller of two answers. Where seeds add nothing, and with one
    seed, which tells nothing of seeds, they are those of people.
    """
    people, seeds, rest = parts.whole()
    between, own = (people + rest / design.seeds) / design.people, seeds / design.seeds
    df_people, df_seeds = design.people - 1, design.seeds - 1
    if own == 0 or df_seeds == 0:
        return _factor(df_people) * sqrt(between + own)
    raw = own + rest / (design.people * design.seeds)
    found = []
    for part in (own, raw):
        df = degrees(between + part, (between, df_people), (raw, df_seeds))
        found.append(_factor(df) * sqrt(between + part))
    return min(found)


def _factor(df: float) -> float:
    return quantile(1 - LEVEL / 2, df) + quantile(POWER, df)


def analyse(records: Sequence[Record], metric: str) -> Row:
    """Average the components of a column over defenses and attacks.

    Raises:
        UsageError: if no defense has two people with a value.
    """
    values, gaps = list[Components](), list[Components]()
    spans, leaks = list[float](), list[float]()
    for attack, own in _rows(records):
        mine = scores_of({attack: own}, metric)
        plain = scores_of({attack: own}, metric, "undefended")
        values.append(components(mine.values_ASP[0], mine.strata))
        floor = _mean_leak(own, metric, "floor")
        spans.append(_mean_leak(own, metric, "gold") - floor)
        leaks.append(_mean_leak(own, metric, "undefended") - floor)
        if (gap := _minus(mine, plain)) is not None:
            gaps.append(components(gap.values_ASP[0], gap.strata))
    gaps = _told([parts for parts in gaps if parts.people == parts.people])
    if not gaps:
        raise UsageError(f"{metric} is not known of two people on a defended and the undefended target")
    return Row(metric, _mean(_told(values)), _mean(gaps), len(gaps), _known_mean(spans), _known_mean(leaks))


def _told(found: Sequence[Components]) -> Sequence[Components]:
    """Leave out those of one seed, in whose people the rest is, where others have several."""
    return [parts for parts in found if parts.rest == parts.rest] or found


def _rows(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Yield records that differ in their seed alone, with the name of their attack."""
    rows: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        digests = (component_digest(record, role) for role in ("model", "defense", "attack"))
        rows[record.cell.attack_label, record.cell.model, record.cell.defense, *map(str, digests)].append(record)
    for (attack, *_), own in rows.items():
        if len({record.cell.seed for record in own}) < len(own):
            raise UsageError(f"{own[0].cell.defense} under {attack} has two records of a seed; give each record once")
        yield attack, own


def _minus(mine: Scores, plain: Scores) -> Scores | None:
    """Return differences; nothing where all are 0, as of the undefended target itself."""
    if (mine.seeds, mine.people) != (plain.seeds, plain.people):
        raise UsageError("a record and its undefended control do not have the same people")
    gap_ASP = mine.values_ASP - plain.values_ASP
    return Scores(mine.attacks, mine.seeds, mine.people, gap_ASP) if np.nan_to_num(gap_ASP).any() else None


def _mean_leak(records: Sequence[Record], metric: str, control: str) -> float:
    return _known_mean(scores_of({"": records}, metric, control).values_ASP.ravel().tolist())


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else nan


def _mean(found: Sequence[Components], weights: Sequence[int] | None = None) -> Components:
    """Average components; those that are not known do not count."""
    means = []
    for parts in zip(*found, strict=True) if found else ((), (), ()):
        known_N = ~np.isnan(np.asarray(parts, dtype=np.float64))
        weights_N = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=np.float64)
        means.append(
            float(np.average(np.asarray(parts)[known_N], weights=weights_N[known_N])) if known_N.any() else nan
        )
    return Components(*means)


def read(paths: Sequence[Path]) -> list[Record]:
    """Read records from files and folders.

    Raises:
        UsageError: if there is none, or they are of several protocols or variants.
        RecordError: for a file that is no record.
    """
    records = [load_record(file) for path in paths for file in _files(path)]
    done = [record for record in records if record.status == "done"]
    protocols = {(one.protocol.name, one.protocol.version, one.protocol.variant, one.protocol.digest) for one in done}
    if len(protocols) != 1:
        told = ", ".join(sorted(f"{name}@{version} ({variant})" for name, version, variant, _ in protocols))
        raise UsageError(f"expected finished records of one protocol, got {told or 'none'}")
    return done


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = [file for name in ("records", "entries") for file in path.rglob(f"{name}/**/*.json")]
    return sorted(inside or path.rglob("*.json"))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--attack", nargs="+", default=[], help="as boards write it; default: all, averaged")
    parser.add_argument("--defense", nargs="+", default=[], help="default: all, averaged")
    parser.add_argument("--metric", nargs="+", default=[], help="default: all leakage columns")
    parser.add_argument("--people", nargs="+", type=int, default=[20, 50, 100], help="numbers of people")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 3], help="numbers of seeds for each person")
    arguments = parser.parse_args()
    try:
        if min(arguments.people) < 2 or min(arguments.seeds) < 1:
            raise UsageError("expected at least two --people and one of --seeds")
        _print(read(arguments.paths), arguments)
    except MibenchError as error:
        parser.error(str(error))


def _print(records: Sequence[Record], arguments: argparse.Namespace) -> None:
    chosen = [
        one
        for one in records
        if one.cell.attack_label in (arguments.attack or [one.cell.attack_label])
        and one.cell.defense in (arguments.defense or [one.cell.defense])
    ]
    if not chosen:
        raise UsageError("no record is of these attacks and defenses")
    columns = dict.fromkeys(
        name for record in chosen for name, metric in record.metrics.items() if metric.group == "leakage"
    )
    rows = list(_analysed(chosen, arguments.metric or columns, named=bool(arguments.metric)))
    seeds = len({record.cell.seed for record in chosen})
    echo_table(
        ("column", *(f"{what}: {part}" for what in ("value", "difference") for part in Components._fields), "rows"),
        [(row.metric, *map(_text, (*row.values, *row.gaps)), row.rows) for row in rows],
        title=f"{chosen[0].protocol.name}@{chosen[0].protocol.version}: variances between people and {seeds} seeds",
    )
    designs = [Design(people, number) for people in arguments.people for number in arguments.seeds]
    echo_table(
        ("column", "people", "seeds", "error", "detectable", "of span", "of leak"),
        [(row.metric, *design, *map(_text, _planned(row, design))) for row in rows for design in designs],
        title="difference to the undefended target: smallest one that is found in four cases of five",
    )
    if any(row.gaps.seeds != row.gaps.seeds for row in rows):
        echo("with one seed, nothing is known of the chance in training: it is not in these errors")


def _analysed(records: Sequence[Record], columns: Iterable[str], *, named: bool) -> Iterator[Row]:
    for name in columns:
        try:
            yield analyse(records, name)
        except UsageError:
            if named:
                raise


def _planned(row: Row, design: Design) -> tuple[float, float, float, float]:
    least = detectable(row.gaps, design)
    shares = (least / whole if whole > 0 else nan for whole in (row.span, row.leak))
    return standard_error(row.gaps, design), least, *shares


def _text(value: float) -> str:
    return f"{value:.3g}" if value == value else DASH


if __name__ == "__main__":
    main()
