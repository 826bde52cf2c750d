"""Numbers and foreign text, made short and safe to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import ceil, log10
from typing import Any

DASH = "–"


def short(value: float | None, digits: int = 2) -> str:
    """Write a number as tables do: ``.28``, ``1.00``, and a dash for ``None``.

    >>> short(0.284), short(-0.5), short(None)
    ('.28', '-.50', '–')
    """
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def brief(value: float) -> str:
    """Write a number like :func:`short`, but what two digits would show as zero with its power of ten.

    >>> brief(0.284), brief(0.00098), brief(-2e-7), brief(0.0)
    ('.28', '9.8e-04', '-2.0e-07', '.00')
    """
    return short(value) if value == 0 or abs(value) >= 0.005 else f"{value:.1e}"


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """Write a number and its interval: ``.28 [.20 .37]``."""
    if value is None or interval is None:
        return short(value)
    return f"{short(value)} [{short(interval[0])} {short(interval[1])}]"


def difference(value: float | None, interval: tuple[float, float] | None) -> str:
    """Write a difference and its interval, with signs: ``-.05 [-.13 +.04]``."""
    if value is None or interval is None:
        return signed(value)
    return f"{signed(value)} [{signed(interval[0])} {signed(interval[1])}]"


def signed(value: float | None) -> str:
    """Write a number with its sign; zero has none.

    >>> signed(0.284), signed(-0.5), signed(0.001)
    ('+.28', '-.50', '.00')
    """
    text = short(value)
    return f"+{text}" if value is not None and value > 0 and float(text) != 0 else text


def p_value(p: float | None) -> str:
    """Write a p with its letter, and with the digits that matter where it is small.

    >>> p_value(0.284), p_value(0.0462), p_value(0.0004), p_value(None)
    ('p .28', 'p .046', 'p < .001', 'p –')
    """
    if p is not None and p < 0.001:
        return "p < .001"
    return f"p {short(p, 3 if p is not None and p < 0.1 else 2)}"


def printable(value: object, limit: int = 200) -> str:
    """Return text on one line without control or direction-changing characters, cut at ``limit``."""
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted key and short text of everything in a nested mapping, in its order.

    >>> list(flatten({"a": {"b": 1}, "c": [1, 2]}))
    [('a.b', '1'), ('c', '[1, 2]')]
    """
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            yield from flatten(item, f"{name}.")
        else:
            yield printable(name), printable(item if isinstance(item, str) else json.dumps(item, default=str))


def decimals(interval: tuple[float, float] | None) -> int:
    """Return how many digits behind the point a number deserves: the last one is of the size of its standard error.

    >>> decimals((0.20, 0.37)), decimals((5.7, 6.5)), decimals((0.981, 0.989)), decimals(None)
    (2, 1, 3, 2)
    """
    width = interval[1] - interval[0] if interval else 0.0
    return min(4, max(0, ceil(-log10(width / 3.92)))) if width > 0 else 2


def rounded(value: float | None, interval: tuple[float, float] | None) -> str:
    """Write a number and its interval with no more digits than the interval allows.

    >>> rounded(6.1234, (5.7, 6.5)), rounded(0.284, (0.2, 0.37)), rounded(0.5, None)
    ('6.1 [5.7 6.5]', '.28 [.20 .37]', '.50')
    """
    digits = decimals(interval)
    if value is None or interval is None:
        return short(value, digits)
    return f"{short(value, digits)} [{short(interval[0], digits)} {short(interval[1], digits)}]"
