"""Precision, recall, density and coverage: do made images lie where real ones lie, and the other way round?

Source: Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models (ICML 2020); precision and recall as
Kynkäänniemi et al. (NeurIPS 2019) improved them.

Shapes: R real images, M made images, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ("precision", "recall", "density", "coverage")


def neighbourhoods(real_RD: Tensor, made_MD: Tensor, neighbours: int) -> dict[str, float | None]:
    """Return the four numbers; ``None`` for what takes more than ``neighbours`` images that are not there.

    An image's ball reaches to its k-th nearest other image of the same kind. ``precision``: share of made images in the
    ball of a real one. ``recall``: share of real images in the ball of a made one. ``density``: real balls that a made
    image lies in, on average, over k. ``coverage``: share of real images whose ball holds a made one.

    Args:
        real_RD: features of real images, float64.
        made_MD: features of made images.
        neighbours: k.
    """
    apart_RM = _apart(real_RD, made_MD)
    found: dict[str, float | None] = dict.fromkeys(NAMES)
    if len(real_RD) > neighbours:
        inside_RM = apart_RM <= _radii(real_RD, neighbours)[:, None]
        found["precision"] = _share(inside_RM.any(0))
        found["density"] = inside_RM.sum().item() / (neighbours * len(made_MD))
        found["coverage"] = _share(inside_RM.any(1))
    if len(made_MD) > neighbours:
        found["recall"] = _share((apart_RM <= _radii(made_MD, neighbours)[None]).any(1))
    return found


def _radii(features_ND: Tensor, neighbours: int) -> Tensor:
    """Return the distance of each image to its k-th nearest other one (N,)."""
    return _apart(features_ND, features_ND).fill_diagonal_(torch.inf).kthvalue(neighbours, dim=1).values


def _apart(one_ND: Tensor, other_MD: Tensor) -> Tensor:
    return torch.cdist(one_ND, other_MD, compute_mode="donot_use_mm_for_euclid_dist")


def _share(found_N: Tensor) -> float:
    return found_N.double().mean().item()
