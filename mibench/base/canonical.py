"""Canonical JSON and its digest: one text for one value, so that equal content has equal keys everywhere.

Rules, frozen because every cache key, record digest and protocol digest depends on them:

- Keys are strings, sorted by code point; no whitespace; UTF-8 text, not escaped to ASCII.
- Tuples are lists. Sets, bytes, arrays and other objects are errors: the caller decides how they become JSON.
- Floats use the shortest text that reads back to the same number. ``-0.0`` is ``0.0``; NaN and infinities are errors.
- Type matters: the integer ``1`` is ``1``, the float ``1.0`` is ``1.0``, ``True`` is ``true``: three digests.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one text of a JSON value.

    Args:
        value: nested mappings with string keys, lists, tuples, strings, numbers, booleans and ``None``.

    Raises:
        ValueError: for NaN, an infinity, or text that UTF-8 cannot encode; the message holds the path to it.
        TypeError: for a key that is not a string or a value that is not JSON.

    >>> canonical_json({"b": (1, 1.0), "a": -0.0})
    '{"a":0.0,"b":[1,1.0]}'
    """
    return json.dumps(_plain(value, "$"), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 (64 hexadecimal digits) of the canonical JSON of a value.

    Raises:
        ValueError: as :func:`canonical_json`.
        TypeError: as :func:`canonical_json`.

    >>> digest({})[:16]
    '44136fa355b3678a'
    """
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()


def _plain(value: Any, path: str) -> Any:
    """Copy a value into exact built-in types: numpy.float64 or a StrEnum must not change the text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(value, path)
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"canonical JSON: {path} is a {type(value).__name__}; expected a JSON value")


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"canonical JSON: {path} is {value}; expected a finite number")
    return float(value) + 0.0  # -0.0 + 0.0 is 0.0


def _text(value: str, path: str) -> str:
    text = str.__str__(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f"canonical JSON: {path} holds a lone surrogate; expected text that UTF-8 can encode"
        ) from None
    return text


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"canonical JSON: {path} has the key {key!r}; expected a string")
    return _text(key, path)
