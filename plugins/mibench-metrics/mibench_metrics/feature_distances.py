"""Distances between features, a block of rows at a time, so that all pairs never have to fit into memory.

Shapes: N images, B of a block, D features, K classes, G references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

BLOCK = 256
"""Rows of the distance matrix that are held at a time."""


@dataclass(frozen=True)
class Distances:
    """What all pairs of N features say, float64.

    Attributes:
        intra_N: distance to the nearest other image of the own class; infinite if there is none.
        inter_N: distance to the nearest image of another class; infinite if there is none.
        silhouette_N: silhouette coefficient, in [-1, 1].
        largest: largest of all distances.
        mean: of all N x N distances.
        std: their standard deviation, over N x N - 1.
    """

    intra_N: Tensor
    inter_N: Tensor
    silhouette_N: Tensor
    largest: float
    mean: float
    std: float

    def normalisations(self) -> list[tuple[str, str, Callable[[Tensor], Tensor]]]:
        """Return suffix of the name, unit, and function of distances, for each way of normalising; plain first."""
        return [
            ("", "feature distance", lambda values: values),
            ("/max", "fraction", lambda values: values / (self.largest or 1.0)),
            ("/zscore", "standard deviations", lambda values: (values - self.mean) / (self.std or 1.0)),
        ]


def distances(features_ND: Tensor, labels_N: Tensor, num_classes: int) -> Distances:
    """Compute nearest neighbours, silhouettes and the moments of all distances.

    Args:
        features_ND: features, float64, on the CPU.
        labels_N: class of each.
        num_classes: K.
    """
    number = len(features_ND)
    member_NK = one_hot(labels_N, num_classes).double()
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    total, squares, largest = 0.0, 0.0, 0.0
    for index_B in torch.arange(number).split(BLOCK):
        # Differences themselves: the faster formula by products loses the small distances that are wanted here.
        row_BN = torch.cdist(features_ND[index_B], features_ND, compute_mode="donot_use_mm_for_euclid_dist")
        total, squares = total + row_BN.sum().item(), squares + row_BN.square().sum().item()
        largest = max(largest, row_BN.max().item())
        same_BN = labels_N[index_B][:, None] == labels_N[None]
        other_BN = row_BN.masked_fill(same_BN, torch.inf)
        own_BN = row_BN.masked_fill(~same_BN, torch.inf)
        own_BN[torch.arange(len(index_B)), index_B] = torch.inf
        sums_BK = row_BN @ member_NK
        rows.append((own_BN.amin(1), other_BN.amin(1), _silhouettes(sums_BK, labels_N[index_B], member_NK.sum(0))))
    intra_N, inter_N, silhouette_N = (torch.cat(part) for part in zip(*rows, strict=True))
    mean = total / number**2
    variance = max(0.0, squares - number**2 * mean**2) / max(1, number**2 - 1)
    return Distances(intra_N, inter_N, silhouette_N, largest, mean, variance**0.5)


def nearest_of_class(features_ND: Tensor, labels_N: Tensor, references_GD: Tensor, owners_G: Tensor) -> Tensor:
    """Return the squared Euclidean distance of each image to the nearest reference of its class (N,), float64.

    Args:
        features_ND: features, on the CPU.
        labels_N: class of each.
        references_GD: features that they are compared with.
        owners_G: class of each of these.

    Returns:
        Infinity for an image whose class has no reference.
    """
    nearest_N = torch.full((len(features_ND),), torch.inf, dtype=torch.float64)
    for label in labels_N.unique():
        own_MD = references_GD[owners_G == label].double()
        for index_B in (labels_N == label).nonzero().flatten().split(BLOCK):
            if len(own_MD):
                nearest_N[index_B] = squared(features_ND[index_B].double(), own_MD).amin(1)
    return nearest_N


def squared(one_ND: Tensor, other_MD: Tensor) -> Tensor:
    """Return squared Euclidean distances (N, M), from differences: products would lose the small ones."""
    return torch.cdist(one_ND, other_MD, compute_mode="donot_use_mm_for_euclid_dist").square()


def _silhouettes(sums_BK: Tensor, labels_B: Tensor, sizes_K: Tensor) -> Tensor:
    """Return (b - a) / max(a, b): a the mean distance to the own class, b the smallest one to another class."""
    own_B1 = labels_B[:, None]
    size_B = sizes_K[labels_B]
    inside_B = sums_BK.gather(1, own_B1)[:, 0] / (size_B - 1).clamp(min=1)
    means_BK = (sums_BK / sizes_K.clamp(min=1)).masked_fill(sizes_K == 0, torch.inf).scatter(1, own_B1, torch.inf)
    outside_B = means_BK.amin(1)
    silhouette_B = (outside_B - inside_B) / torch.maximum(inside_B, outside_B)
    return torch.where((size_B > 1) & (torch.maximum(inside_B, outside_B) > 0), silhouette_B, 0.0)
