"""The certificate of randomised smoothing, from votes of noisy copies."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch


def lower_bound(hits: int, copies: int, alpha: float = 1e-3) -> float:
    """Return the one-sided Clopper-Pearson lower bound on a probability, with confidence 1 - alpha.

    It is the p at which ``hits`` or more of ``copies`` have probability alpha, found by bisection.

    Raises:
        ValueError: if there are more hits than copies, or none to count.
    """
    if not 0 <= hits <= copies or copies < 1 or not 0 < alpha < 1:
        raise ValueError(f"expected 0 <= hits <= copies and 0 < alpha < 1, got {hits} of {copies} and alpha {alpha}")
    if hits == 0:
        return 0.0
    i = torch.arange(hits, copies + 1, dtype=torch.float64)
    ways = math.lgamma(copies + 1) - torch.lgamma(i + 1) - torch.lgamma(copies - i + 1)
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        tail = (ways + i * math.log(p) + (copies - i) * math.log1p(-p)).logsumexp(0)
        low, high = (p, high) if float(tail) < math.log(alpha) else (low, p)
    return low


def certified_radius(hits: int, copies: int, sigma: float, alpha: float = 1e-3) -> float:
    """Return the L2 radius, [0, 1] units, within which the majority vote provably stays, or 0 for no certificate.

    R = sigma * Phi^-1(p), with p the lower bound on the probability of the winning class. The winner must have been
    chosen by other noises than those counted, and these must be independent Gaussian draws.

    Args:
        hits: copies that voted for the winner.
        copies: copies that voted.
        sigma: standard deviation of the noise, [0, 1] units.
        alpha: probability that the certificate is wrong.

    Source: Cohen, Rosenfeld and Kolter, ICML 2019.
    """
    p = lower_bound(hits, copies, alpha)
    return sigma * NormalDist().inv_cdf(p) if p > 0.5 else 0.0
