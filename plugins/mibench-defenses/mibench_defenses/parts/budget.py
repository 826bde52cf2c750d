"""What DP-SGD spends: opacus's Renyi accountant, asked about a whole training."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

from mibench.api import UsageError

LEAST_NOISE = 1e-6
"""Less noise that is not none leaves the range of numbers in the accountant; it protects nothing anyway."""


def sample_rate(num_images: int, batch: int) -> float:
    """Return with what probability an image is in a batch: 1 / steps of an epoch."""
    return 1 / max(1, -(-num_images // batch))


@lru_cache(maxsize=64)
def epsilon_of(noise: float, rate: float, steps: int, delta: float) -> float:
    """Return what opacus's Renyi accountant bounds epsilon by: infinite without noise, 0 before the first step.

    Where there is much noise its conversion from Renyi orders can fall below 0 for large ``delta``.

    Args:
        noise: z.
        rate: probability of an image to be in a batch.
        steps: how many there were.
        delta: probability of a breach.
    """
    if noise == 0 or steps == 0:
        return 0.0 if steps == 0 else math.inf
    from opacus.accountants import RDPAccountant  # type: ignore[import-untyped] # seconds, and only needed here

    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the best Renyi order is the first or last: still an upper bound
        return float(accountant.get_epsilon(delta=delta))


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """Return the least z with which a training keeps to a budget, to opacus's tolerance; arguments as above.

    Raises:
        UsageError: if no noise does.
    """
    from opacus.accountants.utils import get_noise_multiplier  # type: ignore[import-untyped] # as above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = get_noise_multiplier(target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps)
        except ValueError as error:
            raise UsageError(f"dp-sgd: no noise reaches target_epsilon = {epsilon:g}: {error} Raise it.") from None
    return float(found)
