"""Numbers in the free parts of a record, where anything may stand."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """Return a number as a finite float; ``None`` for everything else, booleans and numbers beyond floats included.

    >>> finite(2), finite(True), finite("2"), finite(10**400)
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None
