"""How often do the boards' intervals hold? Simulated rows with the variance that published records have.

Usage: python benchmarks/paired_intervals.py [--repetitions N]

The designs of boards are 40 people, six seeds and two folds (orl64), 60 people and three seeds (faces64), 30 and three
(faces128); those of the first boards had 20 and 24 people.

A value of a person under an attack and a seed is a mean plus effects of the person, the seed and a rest, with the
variances that published records have; ``correlation`` is that of two rows over people. Prints the tables
of docs/statistics.md: with no true difference, how often the 95 % interval holds it (coverage) and how often p < .05
(false positives); the power at the stated smallest difference; and how often Holm's procedure finds a difference among
twenty rows that have none.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

import numpy as np

from mibench.results.families import holm, smallest_difference
from mibench.results.paired import Comparison, compare
from mibench.results.people import Floats, Scores
from mibench.results.permutation import sign_flip


class World(NamedTuple):
    """Variances of one column: between people, between seeds, the rest; and the correlation of two rows over people."""

    people: float
    seeds: float
    rest: float
    correlation: float


class Design(NamedTuple):
    """Who is measured: people and seeds in all, and folds among which both are split."""

    people: int
    seeds: int
    folds: int = 1


WORLDS = {
    "reid@1, photographs": World(0.049, 0.0003, 0.026, 0.83),
    "reid_cosine, photographs": World(0.0081, 0.00003, 0.0018, 0.90),
    "reid@1, rendered": World(0.021, 0.0003, 0.024, 0.51),
    "no effect of seeds": World(0.03, 0.0, 0.03, 0.60),
    "attack_acc@1, photographs": World(0.018, 0.0025, 0.019, 0.0),
    "id_bits, orl64@2.1": World(0.83, 0.009, 0.30, 0.91),
    "id_bits, faces64": World(2.8, 0.028, 2.1, 0.85),
}
"""The middle of what each pair of published rows under one attack had; see docs/statistics.md. Of bits, the mean over
the rows under ``ppa`` on orl64 and under ``map`` on faces64, as ``scripts/power.py`` prints it."""
DESIGNS = (
    Design(20, 3),
    Design(60, 3),
    Design(100, 3),
    Design(40, 3, 2),
    Design(40, 4, 2),
    Design(20, 5),
    Design(100, 2),
    Design(30, 3),
    Design(40, 6, 2),
)
ALIKE = 0.9
"""Correlation of attacks on one row, apart from what its people have in common."""


def rows(world: World, design: Design, means_RA: Floats, rng: np.random.Generator) -> list[Scores]:
    """Draw rows with some attacks each: their true means are ``means_RA``, and all else is chance."""
    number, attacks = means_RA.shape

    def effect(seeds: int, people: int) -> Floats:
        shared = rng.normal(size=(number, 1, seeds, people))
        own = rng.normal(size=(number, attacks, seeds, people))
        made: Floats = np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * own
        return made

    common = rng.normal(size=(1, 1, 1, design.people))
    people = np.sqrt(world.correlation) * common + np.sqrt(1 - world.correlation) * effect(1, design.people)
    values = np.sqrt(world.people) * people + np.sqrt(world.seeds) * effect(design.seeds, 1)
    values = values + np.sqrt(world.rest) * rng.normal(size=(number, attacks, design.seeds, design.people))
    values = values + means_RA[:, :, None, None]
    fold = np.arange(design.seeds) % design.folds
    met_SP = fold[:, None] == np.arange(design.people) % design.folds
    names = tuple(str(attack) for attack in range(attacks))
    axes = names, tuple(range(design.seeds)), tuple(range(design.people))
    return [Scores(*axes, np.where(met_SP, row_ASP, np.nan)) for row_ASP in values]


def compared(world: World, design: Design, means_RA: Floats, repetitions: int, seed: int) -> Iterator[Comparison]:
    """Yield comparisons of two rows."""
    rng = np.random.default_rng(seed)
    for _ in range(repetitions):
        one, other = rows(world, design, means_RA, rng)
        made = compare(one, other)
        if made is not None:
            yield made


def line(made: list[Comparison], truth: float = 0.0) -> str:
    """Write coverage, false positives and the width of the intervals."""
    ends = [one.ci95 or (0.0, 0.0) for one in made]
    coverage = np.mean([low <= truth <= high for low, high in ends])
    positive = np.mean([(one.p or 1.0) < 0.05 for one in made])
    return f"{coverage:.3f} | {positive:.3f} | {median(high - low for low, high in ends) / 2:.3f}"


def table(*columns: str) -> None:
    """Begin a table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def one_attack(repetitions: int) -> None:
    """Print coverage for each column and design."""
    table("column", "people", "seeds", "folds", "coverage", "false positives", "half width, median")
    for name, world in WORLDS.items():
        for design in DESIGNS:
            made = list(compared(world, design, np.zeros((2, 1)), repetitions, 1))
            print(f"| {name} | {design.people} | {design.seeds} | {design.folds} | {line(made)} |", flush=True)


def several_attacks(repetitions: int) -> None:
    """Print coverage where one or both rows have several attacks, the hardest cases for a maximum."""
    low = -0.5
    cases = {
        "six equal against six equal": [[0.0] * 6, [0.0] * 6],
        "one strong against six equal": [[0.0, *[low] * 5], [0.0] * 6],
        "one strong against six of falling strength": [[0.0, *[low] * 5], [0.0, -0.02, -0.04, -0.06, -0.1, -0.2]],
        "one strong against seventeen equal": [[0.0, *[low] * 16], [0.0] * 17],
    }
    table("attacks", "people", "coverage", "false positives", "half width, median")
    for name, means in cases.items():
        for people in (20, 100):
            world = WORLDS["reid@1, photographs"]
            made = list(compared(world, Design(people, 3), np.array(means), repetitions, 2))
            print(f"| {name} | {people} | {line(made)} |", flush=True)


def power(repetitions: int) -> None:
    """Print how often a true difference of the size that boards state is found."""
    table("column", "people", "smallest difference, median", "found")
    for name, world in WORLDS.items():
        for design in (Design(20, 3), Design(100, 3)):
            plain = compared(world, design, np.zeros((2, 1)), repetitions, 3)
            gap = median(smallest_difference(one.spread) for one in plain if one.spread)
            shifted = compared(world, design, np.array([[gap], [0.0]]), repetitions, 4)
            found = np.mean([(one.p or 1.0) < 0.05 for one in shifted])
            print(f"| {name} | {design.people} | {gap:.3f} | {found:.2f} |", flush=True)


def exchanges(repetitions: int) -> None:
    """Print how often exchanging people finds a difference where there is none; all exchanges of fourteen people."""
    table("column", "people", "false positives of the sign-flip test")
    for name, world in WORLDS.items():
        rng = np.random.default_rng(5)
        pairs = (rows(world, Design(14, 3), np.zeros((2, 1)), rng) for _ in range(repetitions))
        found = np.mean([(sign_flip(one, other) or 1.0) < 0.05 for one, other in pairs])
        print(f"| {name} | 14 | {found:.3f} |", flush=True)


def families(repetitions: int) -> None:
    """Print how often any of twenty rows without a difference is told from the lowest of them, by two families."""
    table("column", "people", "told, of comparisons with the lowest", "told, of all pairs")
    for name in ("reid@1, photographs", "reid@1, rendered"):
        for people in (20, 100):
            rng, alone, pairs = np.random.default_rng(6), 0, 0
            for _ in range(repetitions):
                drawn = rows(WORLDS[name], Design(people, 3), np.zeros((20, 1)), rng)
                best = min(drawn, key=lambda row: float(row.values_ASP.mean()))
                others = [row for row in drawn if row is not best]
                alone += any_told(best, others, len(others))
                pairs += any_told(best, others, len(drawn) * len(others) // 2)
            print(f"| {name} | {people} | {alone / repetitions:.3f} | {pairs / repetitions:.3f} |", flush=True)


def any_told(anchor: Scores, others: list[Scores], family: int) -> bool:
    """Tell whether Holm's procedure over a family finds any row above the anchor, as ranks do."""
    made = [compare(row, anchor) for row in others]
    return min(holm([one.p or 1.0 if one and one.value > 0 else 1.0 for one in made], family)) < 0.05


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000)
    repetitions = parser.parse_args().repetitions
    one_attack(repetitions)
    several_attacks(max(1, repetitions // 4))
    power(max(1, repetitions // 4))
    exchanges(max(1, repetitions // 4))
    families(max(1, repetitions // 20))


if __name__ == "__main__":
    main()
