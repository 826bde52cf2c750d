"""Leakage against accuracy, clean and robust: points with intervals, and the front that nothing beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from mibench.leaderboard.board import ProtocolBoard
from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.row import board_controls
from mibench.leaderboard.tables import radii
from mibench.site.axis import Axis, Tick, axis
from mibench.site.columns import estimate_cell
from mibench.site.entry import Entry

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 388, 14, 256
SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Dot:
    """A row in the plane.

    Attributes:
        entry: the row.
        x: pixel of its accuracy.
        y: pixel of its leakage.
        across: ends of the accuracy's interval in pixels.
        along: ends of the leakage's interval in pixels.
        shape: of its family, beside the colour.
        colour: number of its family's colour.
        text: both numbers.
    """

    entry: Entry
    x: float
    y: float
    across: tuple[float, float]
    along: tuple[float, float]
    shape: str
    colour: int
    text: str


@dataclass(frozen=True)
class Scatter:
    """A drawing.

    Attributes:
        id: its name in the page.
        title: what it shows.
        x_title: of the axis of accuracy.
        y_title: of the axis of leakage.
        x_ticks: along the accuracy.
        y_ticks: along the leakage.
        dots: rows, those off the front first.
        front: the front as an SVG path.
        down: whether less leakage lies lower on the page.
        outside: rows without a rank whose accuracy lies left of the axis.
        controls: floor, lookalike and gold as lines, with their names: means of the rows' own.
    """

    id: str
    title: str
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    dots: list[Dot]
    front: str
    down: bool
    outside: int
    controls: list[Tick]


def scatters(section: ProtocolBoard, entries: Sequence[Entry]) -> list[Scatter]:
    """Return a drawing for accuracy and one for each radius of robust accuracy."""
    families = family_marks(entries)
    made = [("plot-accuracy", "accuracy", [(entry, entry.row.accuracy) for entry in entries])]
    made += [
        (
            f"plot-robust-{place}",
            f"robust accuracy, ε = {eps}/255",
            [(e, e.row.robust.get(eps)) for e in entries],
        )
        for place, eps in enumerate(radii(section.rows))
    ]
    return [_scatter(section, name, title, [(e, a) for e, a in found if a], families) for name, title, found in made]


def family_marks(entries: Sequence[Entry]) -> dict[str, tuple[str, int]]:
    """Return shape and colour of each family, in the order of their names."""
    names = sorted({entry.family or "other" for entry in entries})
    return {name: (SHAPES[(place + place // 8) % len(SHAPES)], place % 8) for place, name in enumerate(names)}


def front(points: Sequence[tuple[float, float]], *, down: bool = True) -> str:
    """Return the path along the points that no other beats in both directions (pixels; right is good).

    Args:
        points: x and y.
        down: whether a lower place on the page is better, as for leakage.

    >>> front([(10, 50), (20, 40), (15, 60), (30, 45), (12, 55)])
    'M30 45H15V60'
    """
    path, best = "", float("-inf")
    for x, y in sorted(points, key=lambda point: (-point[0], -point[1] if down else point[1])):
        good = y if down else -y
        if good > best:
            path += f"H{x:g}V{y:g}" if path else f"M{x:g} {y:g}"
            best = good
    return path


def _scatter(
    section: ProtocolBoard,
    name: str,
    title: str,
    found: Sequence[tuple[Entry, Estimate]],
    families: dict[str, tuple[str, int]],
) -> Scatter:
    rows = [entry.row for entry, _ in found]
    controls = {which: value for which, value in board_controls(rows).items() if which != "chance"}
    leaks = [end for row in rows for end in (row.leakage.value, *(row.leakage.ci95 or ()))]
    leaks += [value for which, value in controls.items() if which != "gold"]
    down = not (rows and rows[0].higher_is_better)
    unit = rows[0].unit if rows else "fraction"
    along = axis(leaks, BOTTOM, TOP, fraction=unit == "fraction")
    across = _across([made for entry, made in found if entry.complete] or [made for _, made in found])
    seen = [(entry, made) for entry, made in found if across.low <= made.value <= across.high]
    dots = [_dot(entry, made, across, along, families) for entry, made in seen]
    return Scatter(
        id=name,
        title=title,
        x_title=f"{title} →",
        y_title=f"{section.headline}{'' if unit == 'fraction' else f' ({unit})'}",
        x_ticks=across.ticks(5),
        y_ticks=along.ticks(6),
        dots=dots,
        front=front([(dot.x, dot.y) for dot in dots if dot.entry.complete], down=down),
        down=down,
        outside=len(found) - len(seen),
        controls=[Tick(along.at(value), which) for which, value in controls.items() if value <= along.high],
    )


def _across(found: Sequence[Estimate]) -> Axis:
    """Return the axis of accuracies: from zero, or from where the ranked rows begin."""
    least = min((end for made in found for end in (made.value, *(made.ci95 or ()))), default=0.0)
    return Axis(floor(least * 10) / 10 if least > 0.3 else 0.0, 1.0, LEFT, RIGHT)


def _dot(entry: Entry, made: Estimate, across: Axis, along: Axis, families: dict[str, tuple[str, int]]) -> Dot:
    leak, accuracy = estimate_cell(entry.row.leakage), estimate_cell(made)
    shape, colour = families[entry.family or "other"]
    wide = made.ci95 or (made.value, made.value)
    high = entry.row.leakage.ci95 or (entry.row.leakage.value, entry.row.leakage.value)
    return Dot(
        entry=entry,
        x=across.at(made.value),
        y=along.at(entry.row.leakage.value),
        across=(across.at(wide[0]), across.at(wide[1])),
        along=(along.at(high[0]), along.at(high[1])),
        shape=shape,
        colour=colour,
        text=f"{entry.name}: leakage {leak.text} {leak.after}, {accuracy.text} {accuracy.after}",
    )
