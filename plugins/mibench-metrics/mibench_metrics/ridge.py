"""Linear regression with a quadratic penalty on its weights, whose strength leave-one-out predictions choose.

All predictions of one penalty come from one singular value decomposition, and leaving a row out takes no fit of its
own: its residual is that of the whole fit over one minus its leverage (Allen's PRESS), intercept included.

Shapes: M rows, D inputs, Q outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PENALTIES: tuple[float, ...] = tuple(10 ** (step / 2) for step in range(-12, 5))
"""Penalties to choose from, in units of the largest squared singular value of the centred inputs."""


@dataclass(frozen=True)
class Ridge:
    """A fitted regression.

    Attributes:
        centre_D: mean of the inputs.
        mean_Q: mean of the outputs, which no penalty pulls at.
        weights_DQ: what one unit of an input adds to each output.
        penalty: the penalty, in units of the largest squared singular value.
    """

    centre_D: Tensor
    mean_Q: Tensor
    weights_DQ: Tensor
    penalty: float

    def predict(self, x_ND: Tensor) -> Tensor:
        """Return outputs (N, Q)."""
        return self.mean_Q + (x_ND - self.centre_D) @ self.weights_DQ


def fit(x_MD: Tensor, y_MQ: Tensor, penalties: Sequence[float] = PENALTIES) -> Ridge:
    """Fit with the penalty whose leave-one-out predictions have the least mean squared error.

    Args:
        x_MD: inputs, float64, two rows or more.
        y_MQ: outputs, float64.
        penalties: to choose from, positive, in units of the largest squared singular value of the centred inputs.
    """
    centre_D, mean_Q = x_MD.mean(0), y_MQ.mean(0)
    errors = [leave_one_out(x_MD, y_MQ, penalty).square().sum().item() for penalty in penalties]
    best = penalties[errors.index(min(errors))]
    left_MR, size_R, right_RD = torch.linalg.svd(x_MD - centre_D, full_matrices=False)
    scale_R = size_R / (size_R.square() + _absolute(best, size_R))
    weights_DQ = right_RD.T @ (scale_R[:, None] * (left_MR.T @ (y_MQ - mean_Q)))
    return Ridge(centre_D, mean_Q, weights_DQ, best)


def leave_one_out(x_MD: Tensor, y_MQ: Tensor, penalty: float) -> Tensor:
    """Return the residual of each row (M, Q) under the regression that is fitted to the other rows.

    Args:
        x_MD: inputs, float64, two rows or more.
        y_MQ: outputs, float64.
        penalty: in units of the largest squared singular value of all centred inputs.
    """
    left_MR, size_R, _ = torch.linalg.svd(x_MD - x_MD.mean(0), full_matrices=False)
    kept_R = size_R.square() / (size_R.square() + _absolute(penalty, size_R))
    centred_MQ = y_MQ - y_MQ.mean(0)
    residual_MQ = centred_MQ - left_MR @ (kept_R[:, None] * (left_MR.T @ centred_MQ))
    leverage_M = 1 / len(x_MD) + (left_MR.square() * kept_R).sum(1)
    left_out_MQ: Tensor = residual_MQ / (1 - leverage_M)[:, None]
    return left_out_MQ


def _absolute(penalty: float, size_R: Tensor) -> Tensor:
    """Return a penalty in units of the inputs; 1 where they are all the same and nothing depends on it."""
    largest = size_R.square().max()
    return penalty * torch.where(largest > 0, largest, torch.ones_like(largest))
