"""What components hand over, checked where they do: numbers must be numbers, and those that are published finite.

A diagnostic that is not finite (a signal, a step of a loss curve) is kept as text or as ``None``; it costs no result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from mibench.api.column_names import beyond_name
from mibench.api.defense import SelfCheck
from mibench.api.errors import MibenchError
from mibench.api.metric import Measurement
from mibench.api.target import Ledger
from mibench.training.signals import brief, number, numbers, printable


def verdict(check: object, owner: str) -> dict[str, Any]:
    """Return a self-check as plain JSON.

    Raises:
        MibenchError: if it is none; ``owner`` says whose it is.
    """
    if not isinstance(check, SelfCheck):
        raise MibenchError(f"the self-check of {owner}: expected a SelfCheck, got a {type(check).__name__}")
    signals = printable(numbers(check.signals, f"a signal of the self-check of {owner}"))
    return {"active": bool(check.active), "signals": signals, "reason": str(check.reason)}


def curves(trace: object, where: str) -> dict[str, list[float | None]]:
    """Return an attack's series as plain JSON; ``None`` stands for a step that was not finite.

    Raises:
        MibenchError: if they are no series of numbers; ``where`` says whose.
    """
    if not isinstance(trace, Mapping):
        raise MibenchError(f"{where}: expected a trace of series by name, got a {type(trace).__name__}")
    return {str(name): _curve(series, f"{where}, trace {name!r}") for name, series in trace.items()}


def counts(spent: Ledger, where: str) -> dict[str, int]:
    """Return a ledger as plain JSON.

    Raises:
        MibenchError: if it does not hold whole numbers, as after an attack that entered something else.
    """
    made = asdict(spent)
    for name, count in made.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise MibenchError(f"{where}: expected a whole number of images as {name!r}, got {brief(count)}")
    return made


def rows(measured: object, owner: str, classes: int) -> list[dict[str, Any]]:
    """Return measurements as plain JSON.

    Args:
        measured: what a metric returned.
        owner: its name, for errors.
        classes: K, the number of entries of ``per_class``.

    Raises:
        MibenchError: for anything but measurements with names of their own and finite numbers.
    """
    whose = f"the metric {owner!r}"
    if not isinstance(measured, Iterable):
        raise MibenchError(f"{whose} returned a {type(measured).__name__}; expected a list of measurements")
    made = [_row(row, whose, classes) for row in measured]
    if not made:
        raise MibenchError(f"{whose} returned no measurement")
    names = [row["name"] for row in made]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MibenchError(f"{whose} returned two measurements that are called {twice!r}")
    return made


def _row(row: object, whose: str, classes: int) -> dict[str, Any]:
    if not isinstance(row, Measurement):
        raise MibenchError(f"{whose} returned a list with a {type(row).__name__}; expected a Measurement")
    where = f"{whose}, measurement {row.name!r}"
    per_class = [None if v is None else _finite(v, f"{where}, per_class[{k}]") for k, v in enumerate(row.per_class)]
    if len(per_class) != classes:
        raise MibenchError(f"{where}: expected per_class for {classes} classes, got {len(per_class)} entries")
    plain = {name: getattr(row, name) for name in ("name", "unit", "higher_is_better", "n", "details")}
    plain |= {"value": _finite(row.value, f"{where}, value"), "per_class": per_class}
    if meant := beyond_name(row.name, row.quantity):
        plain["quantity"] = meant.stated()
    _check_json(plain, where)
    return plain


def _curve(series: object, where: str) -> list[float | None]:
    try:
        steps = list(series)  # type: ignore[call-overload]
    except TypeError:
        raise MibenchError(f"{where}: expected a series of numbers, got a {type(series).__name__}") from None
    read = [number(value, where) for value in steps]
    return [value if math.isfinite(value) else None for value in read]


def _finite(value: Any, where: str) -> float:
    found = number(value, where)
    if not math.isfinite(found):
        raise MibenchError(f"{where}: expected a finite number, got {found}")
    return found


def _check_json(value: Any, where: str) -> None:
    """Raise unless a value is plain JSON with finite numbers; the message holds the path to what is not."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise MibenchError(f"{where}: expected text as key, got {brief(name)}")
            _check_json(item, f"{where}, {name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise MibenchError(f"{where}: expected a finite number, got {value}")
    elif not (value is None or isinstance(value, str | int | float)):
        raise MibenchError(f"{where}: expected plain JSON, got {brief(value)}")
