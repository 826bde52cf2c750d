"""From standard normal numbers to other distributions, differentiably."""

from __future__ import annotations

from math import lgamma

import torch
from torch import Tensor, nn

REACH = 9.0
"""The table covers standard normal numbers up to here; beyond it is continued in a straight line."""
_ENTRIES = 2049


def uniform(z: Tensor) -> Tensor:
    """Return standard normal numbers as numbers uniform in [0, 1]."""
    result: Tensor = torch.special.ndtr(z)
    return result


class LogGamma(nn.Module):
    """The logarithm of a gamma variable of unit scale, as a function of a standard normal number.

    A softmax of several of them is a Dirichlet variable.

    Args:
        shape: of the gamma distribution, > 0.
    """

    table: Tensor

    def __init__(self, shape: float) -> None:
        super().__init__()
        with torch.device("cpu"):
            table = _log_quantiles(shape)
        self.register_buffer("table", table.float(), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return the logarithms, of the same shape as ``z``."""
        at = (z + REACH) * ((_ENTRIES - 1) / (2 * REACH))
        low = at.detach().floor().clamp(0, _ENTRIES - 2)
        index = low.long()
        left, right = self.table[index], self.table[index + 1]
        return left + (right - left) * (at - low)


def _log_quantiles(shape: float) -> Tensor:
    """Return the logarithms of the quantiles of ``Phi(z)`` on an even grid of z in [-REACH, REACH], float64."""
    z = torch.linspace(-REACH, REACH, _ENTRIES, dtype=torch.float64)
    a = torch.tensor(shape, dtype=torch.float64)
    low = (torch.special.log_ndtr(z) + lgamma(shape + 1)) / shape - 1  # below: P(a, x) < x^a / Gamma(a + 1)
    high = torch.full_like(z, 5.0)
    for _ in range(80):  # bisection
        middle = (low + high) / 2
        x = middle.exp()
        lower, upper = torch.special.gammainc(a, x), torch.special.gammaincc(a, x)
        below = torch.where(z < 0, lower < torch.special.ndtr(z), upper > torch.special.ndtr(-z))
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    found: Tensor = (low + high) / 2
    return found
