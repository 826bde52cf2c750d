"""Numbers that components hand over by name: plain, and as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mibench.api.errors import MibenchError


def numbers(signals: object, what: str) -> dict[str, float]:
    """Return named scalars as plain numbers, finite or not.

    Raises:
        MibenchError: for anything else; ``what`` says whose it is.
    """
    if not isinstance(signals, Mapping):
        raise MibenchError(f"{what}: expected numbers by name, got a {type(signals).__name__}")
    return {str(name): number(value, f"{what}, {name!r}") for name, value in signals.items()}


def number(value: Any, where: str) -> float:
    """Return a scalar, a tensor of one included, as a plain number, finite or not.

    Raises:
        MibenchError: for anything else; ``where`` says what it is.
    """
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise MibenchError(f"{where}: expected a number, got {brief(value)}") from None


def printable(signals: Mapping[str, float]) -> dict[str, float | str]:
    """Return diagnostics as JSON holds them: ``"nan"``, ``"inf"`` and ``"-inf"`` are text."""
    return {name: value if math.isfinite(value) else str(value) for name, value in signals.items()}


def brief(value: object) -> str:
    """Return the beginning of a value's text, and its type, for messages."""
    text = repr(value)
    return f"{text[:40]}{'...' if len(text) > 40 else ''} ({type(value).__name__})"
