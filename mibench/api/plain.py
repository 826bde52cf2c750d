"""Values as people type them: numbers are finite and fit 64 bits, and none is taken for a boolean or the other way."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from mibench.api.errors import UsageError

DEEPEST = 50
"""Lists and mappings inside each other; no sensible setting comes near."""

_LARGEST = 2**63 - 1
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_SHOWN = 80


class Problem(NamedTuple):
    """A value that was read as something else than it is.

    Attributes:
        path: where it stands; names of fields, keys and positions.
        given: the value.
        reason: why it will not do.
    """

    path: tuple[str, ...]
    given: Any
    reason: str


def brief(value: Any) -> str:
    """Return a value as a message shows it: its ``repr``, cut where it gets long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python prints, or a list that holds itself
        return f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def check_plain(value: Any, source: str) -> None:
    """Refuse what no setting can be, anywhere in a value (see :func:`unfit`).

    Args:
        value: nested mappings, lists and scalars.
        source: what messages call it.

    Raises:
        UsageError: for the first one.
    """
    for path, _, reason in unfit(value):
        place = ".".join(path)[:_SHOWN]
        raise UsageError(f"{source}: {place + ': ' if place else ''}{reason}.")


def unfit(value: Any, path: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield numbers that are not finite or need more than 64 bits, text that UTF-8 cannot encode, and what is too deep.

    Args:
        value: nested mappings, lists and scalars.
        path: where it stands.
    """
    if isinstance(value, Mapping | list | tuple):
        if len(path) == DEEPEST:
            yield Problem(path, value, f"nested more than {DEEPEST} levels deep; write it flatter")
            return
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from unfit(item, (*path, str(key)))
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield Problem(path, value, f"{ascii(value)[:_SHOWN]} holds bytes that are no text; expected UTF-8")
    elif reason := _odd(value):
        yield Problem(path, value, reason)


def _odd(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number, got {value}"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "expected a number that fits into 64 bits, got a larger one"
    return ""


def misread(given: Any, made: Any, path: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield the places where validation turned a value into something that it is not.

    Booleans are no numbers, numbers no booleans, fractions no whole numbers; text is a number if it is written as one
    in decimal digits without leading zeros. A whole number may stand for a fraction.

    Args:
        given: what was validated.
        made: the instance, list, mapping or scalar that came out.
        path: where they stand.
    """
    if isinstance(given, Mapping):
        for key, item in given.items():
            yield from misread(item, _member(made, key), (*path, str(key)))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for index, (item, one) in enumerate(zip(given, made, strict=False)):
            yield from misread(item, one, (*path, str(index)))
    elif reason := _scalar(given, made):
        yield Problem(path, given, reason)


def _member(made: Any, key: Any) -> Any:
    if isinstance(made, Mapping):
        return made.get(key)
    return getattr(made, str(key), None) if isinstance(made, BaseModel) or dataclasses.is_dataclass(made) else None


def _scalar(given: Any, made: Any) -> str:
    if isinstance(made, bool):
        return "" if isinstance(given, bool) else "expected true or false"
    if not isinstance(made, int | float):
        return ""
    if isinstance(given, bool):
        return "a boolean is no number"
    if isinstance(made, int) and isinstance(given, float):
        return "expected a whole number, written without a point or an exponent"
    if isinstance(given, str):
        wanted = _WHOLE if isinstance(made, int) else _NUMBER
        if not wanted.fullmatch(given.strip()):
            return "expected a number in decimal digits without leading zeros"
    return _odd(made)
