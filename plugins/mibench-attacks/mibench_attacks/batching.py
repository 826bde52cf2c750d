"""How many images go through a network at once: an execution detail that never changes a result."""

from __future__ import annotations

from collections.abc import Iterator


def batches(total: int, size: int) -> Iterator[slice]:
    """Cut ``range(total)`` into slices of at most ``size`` rows, in order.

    >>> [(rows.start, rows.stop) for rows in batches(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
