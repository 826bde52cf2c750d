"""The best points that searches have met.

Shapes: R searches side by side, P points of each, k kept of each, D coordinates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mibench.api import ClassFailed


class BestPoints:
    """The ``keep`` points of lowest loss of each search; what is not finite is worse than all that is.

    Attributes:
        points_RkD: best first, as many as there have been, at most ``keep``.
        loss_Rk: their losses; infinite for those that are not finite.
    """

    points_RkD: Tensor
    loss_Rk: Tensor

    def __init__(self, keep: int, points_RPD: Tensor, loss_RP: Tensor) -> None:
        self.keep = keep
        self.points_RkD, self.loss_Rk = points_RPD[:, :0], loss_RP[:, :0]
        self.note(points_RPD, loss_RP)

    def note(self, points_RPD: Tensor, loss_RP: Tensor) -> None:
        """Take over the points that are better; among equals the earlier one stays."""
        loss_RP = torch.where(loss_RP.isfinite(), loss_RP, torch.inf)
        points, loss = torch.cat([self.points_RkD, points_RPD], 1), torch.cat([self.loss_Rk, loss_RP], 1)
        order_Rk = loss.sort(dim=1, stable=True).indices[:, : self.keep]
        self.loss_Rk = loss.gather(1, order_Rk)
        self.points_RkD = points.gather(1, order_Rk[..., None].expand(-1, -1, points.shape[2]))

    def finalists(self, need: int, *, where: str) -> Tensor:
        """Return the points of all searches (R * k, D), best first.

        Args:
            need: how many of them must have a finite loss; a confidence may be 0 where its logarithm is infinite.
            where: how the error names the search, e.g. ``"class 7"``.

        Raises:
            ClassFailed: if fewer have.
        """
        finite = int(self.loss_Rk.isfinite().sum())
        if finite < need:
            raise ClassFailed(
                f"{where}: expected {need} points with a finite loss, got {finite} of {self.loss_Rk.numel()}. The"
                " target gives this class no finite log-probability; check the defense's training."
            )
        order = self.loss_Rk.flatten().sort(stable=True).indices
        return self.points_RkD.flatten(0, 1)[order]

    def mean_best(self) -> float:
        """Return the mean over searches of their lowest loss, of those that have met a finite one; NaN if none has."""
        best_R = self.loss_Rk[:, 0]
        finite = best_R[best_R.isfinite()]
        return float(finite.mean()) if len(finite) else math.nan
