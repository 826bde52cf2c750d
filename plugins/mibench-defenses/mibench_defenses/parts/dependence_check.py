"""Whether a penalty on dependences did anything, from the signals of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mibench.api import SelfCheck

LEAST = 1e-3
"""Share of the loss, and relative change of the penalty over the training, from which BiDO counts as active."""


def verdict(history: Sequence[Mapping[str, float]], lambda_x: float, lambda_y: float) -> SelfCheck:
    """Judge by the first and the last epoch: active iff the penalty was a part of the loss and changed."""
    names = ("dependence_xz", "dependence_zy", "penalty", "penalty_share")
    first, last = ([row.get(name, 0.0) for name in names] for row in (*history[:1], *history[-1:]) or ({}, {}))
    change = abs(last[2] - first[2]) / max(abs(first[2]), abs(last[2]), 1e-12)
    moved = change >= LEAST or len(history) == 1  # one epoch cannot show a change
    signals = {f"first_{name}": value for name, value in zip(names, first, strict=True)}
    signals |= {f"last_{name}": value for name, value in zip(names, last, strict=True)}
    return SelfCheck(
        active=lambda_x + lambda_y > 0 and last[3] >= LEAST and moved and math.isfinite(last[2]),
        signals=signals | {"penalty_change": change},
        reason=f"first to last epoch: d(X, Z) {first[0]:.3g} to {last[0]:.3g}, d(Z, Y) {first[1]:.3g} to"
        f" {last[1]:.3g}, penalty {first[2]:.3g} to {last[2]:.3g} ({last[3]:.1%} of the loss; weights"
        f" {lambda_x:g}, {lambda_y:g})",
    )
