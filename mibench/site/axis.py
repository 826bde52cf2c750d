"""Axes of drawings: where a number lies in pixels, and round numbers to label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

from mibench.results.display import short


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A linear axis.

    Attributes:
        low: number at its start.
        high: number at its end.
        start: pixel of its start.
        end: pixel of its end; smaller than ``start`` for axes that rise.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a number; beyond the ends it stays at them."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * min(1.0, max(0.0, share)), 1)

    def ticks(self, most: int = 6) -> list[Tick]:
        """Return round numbers on the axis."""
        step = _step((self.high - self.low) / most)
        digits = max(0, -floor(log10(step) + 1e-9))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [Tick(self.at(number * step), short(number * step, digits)) for number in range(first, last + 1)]


def axis(values: Iterable[float], start: float, end: float, *, fraction: bool) -> Axis:
    """Return an axis that holds some numbers and zero; with 1 at its end where they are fractions that come near."""
    found = list(values)
    low, high = min([0.0, *found]), max([0.0, *found])
    if fraction and low == 0 and high > 0.6:
        high = max(high, 1.0)
    if low == high:
        high = low + 1.0
    step = _step((high - low) / 6)
    return Axis(floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, start, end)


def _step(rough: float) -> float:
    size = 10.0 ** floor(log10(rough))
    return next((size * factor for factor in (1, 2, 2.5, 5) if size * factor >= rough * (1 - 1e-9)), size * 10)
