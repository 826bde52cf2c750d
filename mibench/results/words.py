"""What a number means, for readers who do not know its unit."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log2, log10
from typing import Any

from mibench.base.scalars import finite

AMONG, CHANCE = "among", "chance"
"""Details of a measurement in bits: among how many people the right one is looked for, and what a blind guess has."""


def in_words(value: float, unit: str, details: Mapping[str, Any]) -> str:
    """Return what a number means; nothing if there is nothing to add.

    A number in bits whose metric states among how many people it looks narrows these down.

    >>> in_words(4.8, "bits", {"among": 1124})
    'narrows 1 124 people down to about 40'
    >>> in_words(1.2, "bits", {"among": 1124, "chance": 1.44})
    'no better than a blind guess among 1 124 people'
    >>> in_words(0.3, "fraction", {"among": 1124})
    ''
    """
    people = finite(details.get(AMONG))
    if unit != "bits" or people is None or people < 1:
        return ""
    if value <= (chance(unit, details) or 0.0):
        return f"no better than a blind guess among {_count(people)} people"
    left = people / 2 ** min(max(value, 0.0), log2(people))
    return f"narrows {_count(people)} people down to about {_rough(left)}"


def chance(unit: str, details: Mapping[str, Any]) -> float | None:
    """Return what a blind guess has, of a number in bits whose metric states it.

    >>> chance("bits", {"among": 1124, "chance": 1.44})
    1.44
    """
    return finite(details.get(CHANCE)) if unit == "bits" else None


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def _rough(number: float) -> str:
    """Write a number of people with two digits."""
    if number < 9.95:
        return f"{number:.1f}".removesuffix(".0")
    return _count(round(number, 1 - floor(log10(number))))
