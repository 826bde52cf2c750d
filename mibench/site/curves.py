"""Drawings of a row's page: who is found among the first guesses, robust accuracy, and each person's change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from mibench.leaderboard.row import Row
from mibench.results.normalize import control, headline
from mibench.results.people import Scores, scores_of
from mibench.results.record import MetricValue, Record
from mibench.site.axis import Axis, Tick, axis

WIDTH, HEIGHT = 400, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 388, 12, 216
WIDE = 708
"""Where the drawing of people ends."""
MOST_GUESSES = 50


@dataclass(frozen=True)
class Line:
    """A named line.

    Attributes:
        name: what it is.
        style: class of its drawing: own, undefended, floor, lookalike or gold.
        path: SVG path.
        band: SVG path around its interval; empty without one.
    """

    name: str
    style: str
    path: str
    band: str = ""


@dataclass(frozen=True)
class Curve:
    """A drawing of lines.

    Attributes:
        id: its name in the page.
        title: what it shows.
        x_title: what lies along the page.
        x_ticks: along the page.
        y_ticks: up the page.
        lines: the lines.
    """

    id: str
    title: str
    x_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]


@dataclass(frozen=True)
class Person:
    """One person: pixel along the page, and of both values; ``None`` where one was not measured."""

    x: float
    before: float | None
    after: float | None
    text: str


@dataclass(frozen=True)
class People:
    """What changed for each person.

    Attributes:
        y_ticks: values.
        people: by what the undefended target leaks of them.
        rows: identity, value without and with the defense, for a table.
    """

    y_ticks: list[Tick]
    people: list[Person]
    rows: list[tuple[int, float | None, float | None]]


def identification(row: Row, records: Sequence[Record]) -> Curve | None:
    """Return how often a person is among the first k guesses of the judge; ``None`` if records state no ranks.

    Args:
        row: the row.
        records: those of its worst attack.
    """
    found = {"own": _ranks(headline(record) for record in records)}
    for name in ("undefended", "floor", "lookalike", "gold"):
        found[name] = _ranks(control(record, name) for record in records)
    if not found["own"]:
        return None
    most = min(MOST_GUESSES, max(2, max(max(ranks, default=0) for ranks in found.values()) + 1))
    across = Axis(1, most, LEFT, RIGHT)
    up = Axis(0, 1, BOTTOM, TOP)
    lines = [
        Line(row.defense if name == "own" else name, name, _path(_shares(ranks, most), across, up))
        for name, ranks in found.items()
        if ranks
    ]
    return Curve("curve-ranks", "Who is found among the first guesses", "guesses", across.ticks(5), up.ticks(5), lines)


def robustness(row: Row, plain: Row | None) -> Curve | None:
    """Return robust accuracy by radius, beside that of the undefended target; ``None`` for fewer than two radii."""
    if len(row.robust) < 2:
        return None
    across = axis([float(eps) for eps in row.robust], LEFT, RIGHT, fraction=False)
    up = Axis(0, 1, BOTTOM, TOP)
    lines = []
    for name, style, one in ((row.defense, "own", row), (plain.defense if plain else "", "undefended", plain)):
        if one is None or (one is not row and row.defense == name):
            continue
        points = [(0.0, one.accuracy)] if one.accuracy else []
        points += [(float(eps), made) for eps, made in one.robust.items()]
        path = _path([(x, made.value) for x, made in points], across, up)
        low = [(x, made.ci95[0]) for x, made in points if made.ci95]
        high = [(x, made.ci95[1]) for x, made in points if made.ci95]
        band = _path(high, across, up) + _path(low[::-1], across, up).replace("M", "L", 1) + "Z" if low else ""
        lines.append(Line(name, style, path, band))
    return Curve("curve-robust", "Accuracy under AutoAttack", "ε × 255", across.ticks(5), up.ticks(5), lines)


def people(row: Row, records: Sequence[Record]) -> People | None:
    """Return each person's leakage with and without the defense; ``None`` without values of people.

    Args:
        row: the row.
        records: those of its worst attack.
    """
    name = records[0].protocol.headline
    sign = -1.0 if row.higher_is_better else 1.0
    after = _means(scores_of({"": records}, name), sign)
    before = _means(scores_of({"": records}, name, "undefended"), sign)
    if not after:
        return None
    order = sorted(after, key=lambda who: (before.get(who, after[who]), after[who], who))
    up = axis([*after.values(), *before.values()], BOTTOM, TOP, fraction=row.unit == "fraction")
    step = (WIDE - LEFT) / max(1, len(order))
    drawn = []
    for place, who in enumerate(order):
        old = before.get(who)
        told = f"person {who}: {after[who]:.2f}" + (f", undefended {old:.2f}" if old is not None else "")
        x = round(LEFT + step * (place + 0.5), 1)
        drawn.append(Person(x, None if old is None else up.at(old), up.at(after[who]), told))
    rows: list[tuple[int, float | None, float | None]] = [(who, before.get(who), after[who]) for who in order]
    return People(up.ticks(5), drawn, rows)


def _means(scores: Scores, sign: float) -> Mapping[int, float]:
    """Return each person's mean over seeds, without those that no seed has."""
    if not scores.people:
        return {}
    found = zip(scores.people, scores.people_AP[0], strict=True)
    return {who: sign * float(value) for who, value in found if not isnan(value)}


def _ranks(metrics: Iterable[MetricValue | None]) -> list[int]:
    """Return the ranks of the right person that measurements state, from 0, of all images."""
    found: list[int] = []
    for metric in metrics:
        ranks = metric.details.get("ranks") if metric else None
        if isinstance(ranks, list):
            found += [rank for rank in ranks if isinstance(rank, int) and rank >= 0]
    return found


def _shares(ranks: Sequence[int], most: int) -> list[tuple[float, float]]:
    return [(k, sum(rank < k for rank in ranks) / len(ranks)) for k in range(1, most + 1)]


def _path(points: Sequence[tuple[float, float]], across: Axis, up: Axis) -> str:
    placed = [(across.at(x), up.at(y)) for x, y in points]
    if not placed:
        return ""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in placed)
