"""How many images go through a network at once: an execution detail that never changes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from mibench.api import Ledger

T = TypeVar("T")


def batches(total: int, size: int) -> Iterator[slice]:
    """Cut ``range(total)`` into slices of at most ``size`` rows, in order.

    >>> [(rows.start, rows.stop) for rows in batches(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


class AutoBatchSize:
    """Finds the batch that fits into the GPU's memory, and stays with it.

    Args:
        batch: where to begin; halved for as long as a call does not fit.
        ledger: what a call that did not fit has spent is taken back, because it is done again.
    """

    def __init__(self, batch: int, ledger: Ledger | None = None) -> None:
        self.batch = batch
        self.ledger = ledger

    def __call__(self, run: Callable[[int], T]) -> T:
        """Return ``run(batch)``.

        Raises:
            torch.cuda.OutOfMemoryError: if not even a batch of 1 fits.
        """
        before = self.ledger.copy() if self.ledger else None
        while True:
            try:
                return run(self.batch)
            except torch.cuda.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch = (self.batch + 1) // 2
            torch.cuda.empty_cache()  # outside of the handler, which keeps the failed tensors alive
            if self.ledger and before:
                self.ledger.restore(before)


def in_batches(total: int, batch: int, run: Callable[[slice], Tensor], ledger: Ledger | None = None) -> Tensor:
    """Return the results of ``run`` on slices of ``range(total)``, joined; smaller slices where memory is short.

    Args:
        total: number of rows.
        batch: rows at once, to begin with.
        run: maps a slice to its rows; it is called again for all slices after one that did not fit.
        ledger: as of :class:`AutoBatchSize`.
    """
    return AutoBatchSize(batch, ledger)(lambda size: torch.cat([run(rows) for rows in batches(total, size)]))
