"""Faces as corresponding points in space, and the few numbers that tell them apart.

Shapes: M people, V values (three for each point of a face), Q principal components.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_RANK = 1e-12
"""Sum of squares along a component, relative to that of all coordinates, that is rounding (of float32, squared)."""


@dataclass(frozen=True)
class Shapes:
    """Faces in the coordinates of their principal components: the same distances in far fewer numbers.

    Attributes:
        mean_V: the mean face.
        basis_QV: orthonormal components; all that the faces differ in.
        parts_MQ: coordinates of the faces.
    """

    mean_V: Tensor
    basis_QV: Tensor
    parts_MQ: Tensor

    @classmethod
    def of(cls, values_MV: Tensor) -> Shapes:
        """Decompose faces, float64, without loss but for rounding."""
        mean_V = values_MV.mean(0)
        centred_MV = values_MV - mean_V
        variance_M, axes_MM = torch.linalg.eigh(centred_MV @ centred_MV.T)
        kept_M = variance_M > _RANK * values_MV.square().sum()
        size_Q = variance_M[kept_M].sqrt()
        basis_QV = (axes_MM[:, kept_M] / size_Q).T @ centred_MV
        return cls(mean_V, basis_QV, centred_MV @ basis_QV.T)

    @property
    def points(self) -> int:
        """Number of points of a face."""
        return len(self.mean_V) // 3

    def faces(self, parts_NQ: Tensor) -> Tensor:
        """Return faces (N, V) from coordinates."""
        return self.mean_V + parts_NQ @ self.basis_QV


def distances(one_NV: Tensor, other_NV: Tensor) -> Tensor:
    """Return the root of the mean over points of the squared distance of corresponding points (N,)."""
    return (one_NV - other_NV).square().sum(1).div(one_NV.shape[1] / 3).sqrt()
