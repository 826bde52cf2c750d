"""The median radius: how far a typical image is from being misclassified, one number instead of a sweep.

Shapes: N images, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mibench.api import Measurement

LARGEST = 1.0
"""No perturbation inside [0, 1] is larger; images for which nothing was found are censored here."""


def median_radius(radii_N: Tensor, labels_N: Tensor, num_classes: int, details: dict[str, Any]) -> Measurement:
    """Return ``median_radius`` in units of 1/255: the eps at which FAB-T alone leaves half of all images correct.

    Args:
        radii_N: smallest norm found per image, [0, 1] units; 0 where the clean image is misclassified already,
            infinite where nothing was found.
        labels_N: the class of each image.
        num_classes: K.
        details: what to say beside quantiles and the number of censored images.
    """
    finite_N = radii_N.double().clamp(max=LARGEST) * 255
    per_class: list[float | None] = []
    for label in range(num_classes):
        own = finite_N[labels_N == label]
        per_class.append(_median(own) if len(own) else None)
    value = _median(finite_N)
    points = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
    quantiles = dict(zip(("10%", "25%", "50%", "75%", "90%"), finite_N.quantile(points).tolist(), strict=True))
    censored = int(radii_N.isinf().sum())
    return Measurement(
        base="median_radius",
        value=value,
        unit="1/255",
        higher_is_better=True,
        n=len(radii_N),
        per_class=per_class,
        details={
            **details,
            "quantiles": quantiles,
            "censored": censored,
            "censored_at": LARGEST * 255,
            "median_is_censored": value >= LARGEST * 255,
            "misclassified": int((radii_N == 0).sum()),
        },
    )


def _median(values_N: Tensor) -> float:
    return values_N.quantile(0.5).item()
