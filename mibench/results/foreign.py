"""What valid JSON may hold and no record does. Walked without recursion, before anything else looks at it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 32
"""The deepest published record has six levels."""
LARGEST = 2**63 - 1


def unusable(value: dict[str, Any] | list[Any]) -> Iterator[str]:
    """Yield a sentence for each place of a JSON document that no record can hold.

    Whole numbers beyond 64 bits, numbers that only infinity can stand for (``1e999``), text that UTF-8 cannot encode
    (half of a surrogate pair), and more than :data:`MAX_DEPTH` levels.
    """
    left: list[tuple[str, int, Any]] = [("", 0, value)]
    while left:
        place, depth, item = left.pop()
        if depth > MAX_DEPTH:
            yield f"{_cut(place)} is nested deeper than {MAX_DEPTH} levels"
            continue
        for name, held in item.items() if isinstance(item, dict) else enumerate(item):
            if isinstance(name, str) and not _encodable(name):
                yield f"a key of {_cut(place) or 'the document'} is text that UTF-8 cannot encode"
            elif isinstance(held, dict | list):
                left.append((_join(place, name), depth + 1, held))
            elif problem := _problem(held):
                yield f"{_cut(_join(place, name))} is {problem}"


def _problem(item: Any) -> str:
    if isinstance(item, str):
        return "" if _encodable(item) else "text that UTF-8 cannot encode"
    if isinstance(item, int):
        return (
            f"a number of {len(str(abs(item)))} digits; expected one that 64 bits hold" if abs(item) > LARGEST else ""
        )
    if isinstance(item, float):
        return "" if math.isfinite(item) else "larger than any number that JSON readers agree on"
    return ""


def _join(place: str, name: str | int) -> str:
    return f"{place}.{name}" if place else str(name)


def _cut(place: str) -> str:
    return ascii(place)[1:-1] if len(place) <= 120 else ascii(place[:119])[1:-1] + "..."


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
