"""How many images go through a network at once: an execution detail that never changes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


def batches(total: int, size: int) -> Iterator[slice]:
    """Cut ``range(total)`` into slices of at most ``size`` rows, in order.

    >>> [(rows.start, rows.stop) for rows in batches(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def fitting(run: Callable[[int], T], batch: int) -> T:
    """Return ``run(batch)``, with half the batch again and again while the GPU's memory is too small for it."""
    while True:
        try:
            return run(batch)
        except torch.cuda.OutOfMemoryError:
            if batch == 1:
                raise
            batch = (batch + 1) // 2
        torch.cuda.empty_cache()  # outside of the handler, which keeps the failed tensors alive
