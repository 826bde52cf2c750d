"""Where the parts of a leakage chart lie: bars with whiskers, and lines at floor and gold. Drawn by the template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mibench.results.display import short, with_interval

At = Callable[[float], float]
LEFT, WIDTH, BAR, TOP, BOTTOM, RIGHT = 220, 460, 26, 34, 26, 40


@dataclass(frozen=True)
class NamedNumber:
    """A number to draw, with its interval."""

    name: str
    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Bar:
    """One bar in pixels; whiskers are absent without an interval."""

    name: str
    text: str
    y: float
    x: float
    width: float
    whisker: tuple[float, float] | None


@dataclass(frozen=True)
class Line:
    """A vertical line: a control, or a tick of the axis."""

    name: str
    x: float


@dataclass(frozen=True)
class Chart:
    """A drawn chart: size in pixels and parts."""

    width: float
    height: float
    left: float
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    ticks: tuple[Line, ...]
    description: str


def leakage_chart(
    entries: Sequence[NamedNumber],
    floor: float | None,
    gold: float | None,
    lookalike: float | None = None,
    *,
    fractions: bool = True,
) -> Chart | None:
    """Lay out a chart; ``None`` without entries.

    The axis holds zero and everything drawn, and one where the values are fractions.
    """
    if not entries:
        return None
    named = (("floor", floor), ("lookalike", lookalike), ("gold", gold))
    controls = [(name, value) for name, value in named if value is not None]
    drawn = [value for _, value in controls]
    for entry in entries:
        drawn += [entry.value, *(entry.interval or ())]
    low, high = min(0.0, *drawn), max(0.0, *drawn)
    if fractions and low == 0:
        high = max(high, 1.0)
    if low == high:
        high = low + 1.0

    def at(value: float) -> float:
        return round(LEFT + WIDTH * (value - low) / (high - low), 1)

    bars = tuple(_bar(entry, index, at) for index, entry in enumerate(entries))
    ticks = tuple(Line(short(value), at(value)) for value in (low + (high - low) * step / 4 for step in range(5)))
    words = [f"{entry.name} {with_interval(entry.value, entry.interval)}" for entry in entries]
    words += [f"{name} {short(value)}" for name, value in controls]
    return Chart(
        width=LEFT + WIDTH + RIGHT,
        height=TOP + BAR * len(entries) + BOTTOM,
        left=at(0.0),
        bars=bars,
        lines=tuple(Line(f"{name} {short(value)}", at(value)) for name, value in controls),
        ticks=ticks,
        description="; ".join(words),
    )


def _bar(entry: NamedNumber, index: int, at: At) -> Bar:
    zero, end = at(0.0), at(entry.value)
    whisker = (at(entry.interval[0]), at(entry.interval[1])) if entry.interval else None
    text = with_interval(entry.value, entry.interval)
    return Bar(entry.name, text, TOP + BAR * index, min(zero, end), round(abs(end - zero), 1), whisker)
