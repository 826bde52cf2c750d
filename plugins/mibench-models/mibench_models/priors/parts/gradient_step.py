"""What every training of a generator does in a step: descend a loss, and look at the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer

from mibench.api import MibenchError


def descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Take one step down a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def finite(signals: Mapping[str, Tensor], index: int, *, advice: str) -> dict[str, float]:
    """Return the signals of step ``index`` as numbers.

    Raises:
        MibenchError: if one is not finite, with the advice what to change.
    """
    found = {name: value.item() for name, value in signals.items()}
    if not all(math.isfinite(value) for value in found.values()):
        raise MibenchError(f"prior training diverged at step {index}: {found}; {advice}")
    return found
