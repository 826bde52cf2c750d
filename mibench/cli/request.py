"""From options and a matrix file to a request. Wrong keys and values are explained, not traced."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mibench.api.errors import UsageError, unknown
from mibench.api.plain import brief, check_plain
from mibench.protocol.files import read_yaml
from mibench.protocol.request import Request, no_setting

LISTS = ("protocols", "datasets", "models", "defenses", "attacks", "seeds")
MATRIX_KEYS = tuple(Request.model_fields)


def build_request(options: Mapping[str, Any], *, matrix: Path | None) -> Request:
    """Make a request.

    Args:
        options: fields of the request from the command line; ``None`` and empty lists were not given. What was given
            replaces what the matrix file says, except that ``settings`` add to it.
        matrix: YAML file with the same keys.

    Raises:
        UsageError: for an unknown key (with a suggestion) or an invalid value.
    """
    fields = {} if matrix is None else read_matrix(matrix)
    given = {key: value for key, value in options.items() if value not in (None, (), {})}
    settings = {**fields.get("settings", {}), **given.pop("settings", {})}
    try:
        return Request.model_validate({**fields, **given, "settings": settings})
    except UsageError as error:
        raise UsageError(f"{error} (with {matrix})" if matrix else str(error)) from None


def read_matrix(path: Path) -> dict[str, Any]:
    """Read a matrix file; a single value stands for a list of one.

    Raises:
        UsageError: if it cannot be read, is not a mapping, or has an unknown key.
    """
    content, _ = read_yaml(path, "the matrix file")
    if not isinstance(content, dict):
        kind = "nothing" if content is None else type(content).__name__
        raise UsageError(f"{path}: expected keys like 'defenses: [atat, none]', got {kind}")
    for key in content:
        if key not in MATRIX_KEYS:
            raise unknown(f"key in {path}:", str(key), MATRIX_KEYS)
        if key in LISTS and not _as_list(content[key]):
            raise UsageError(f"{path}: {key}: nothing is selected. Name at least one, or leave {key} out.")
    if not isinstance(content.get("settings", {}), dict):
        raise UsageError(f"{path}: settings: expected a mapping like 'defense.lam: 0.2'")
    return {key: _as_list(value) if key in LISTS else value for key, value in content.items()}


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``--set`` options: ``KEY=VALUE`` with a dotted key; the value is JSON or what ``show`` prints, or else text.

    >>> parse_settings(["defense.lam=0.2", "attack.method=pgd"])
    {'defense.lam': 0.2, 'attack.method': 'pgd'}

    Raises:
        UsageError: for what has no value, or one that is not plain. Keys are for the request to check.
    """
    found: dict[str, Any] = {}
    for text in texts:
        check_plain(text, "--set")
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise no_setting(text)
        made = _value(value)
        check_plain(made, f"--set {key}")
        if key in found and found[key] != made:
            raise UsageError(f"--set {key}: given twice, with {brief(found[key])} and with {brief(made)}.")
        found[key] = made
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if text.startswith("(") or text in ("None", "True", "False"):  # as `mibench show` prints them
        try:
            made = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return text
        return list(made) if isinstance(made, tuple) else made
    return text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else ([] if value is None else value)
