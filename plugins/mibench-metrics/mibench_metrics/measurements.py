"""Measurements that are averages of one value per image.

Shapes: N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from mibench.api import Measurement, MibenchError, Quantity, class_means

T = TypeVar("T")


def average(
    quantity: Quantity,
    values_N: Tensor,
    labels_N: Tensor,
    num_classes: int,
    *,
    higher_is_better: bool,
    unit: str = "fraction",
    details: Mapping[str, Any] | None = None,
    failed: Sequence[int] | Mapping[int, float] = (),
    name: str = "",
) -> Measurement:
    """Make a measurement whose value is the mean over images, and over the images of each class.

    Args:
        quantity: what is measured.
        values_N: one value per image; booleans count as 0 and 1.
        labels_N: the class of each image.
        num_classes: K.
        higher_is_better: from the defender's point of view.
        unit: ``"fraction"``, ``"cosine"`` ...
        details: anything else worth keeping, plain JSON. ``images_per_class`` joins it where classes have numbers of
            images that differ by more than one, or at all beside failed classes: the mean over images does not follow
            from those of the classes then.
        failed: classes without images, each of which counts with as many images as the others have on average: as 0,
            or as what stands beside it.
        name: column name where it is not the one that the quantity gives.
    """
    values_N = values_N.double()
    per_class = class_means(values_N, labels_N, num_classes)
    present = sum(mean is not None for mean in per_class)
    counts = torch.bincount(labels_N, minlength=num_classes).tolist()
    delivered = [count for count in counts if count]
    apart = max(delivered) - min(delivered) if delivered else 0
    uneven = {"images_per_class": counts} if apart > (0 if failed else 1) else {}
    counted = failed if isinstance(failed, Mapping) else dict.fromkeys(failed, 0.0)
    for label, stands_for in counted.items():
        per_class[label] = stands_for
    return Measurement(
        **quantity.stated(),
        name=name,
        value=(values_N.mean().item() * present + sum(counted.values())) / (present + len(counted)),
        unit=unit,
        higher_is_better=higher_is_better,
        n=len(values_N),
        per_class=per_class,
        details={**(details or {}), **uneven},
    )


def required(part: T | None, what: str, metric: str) -> T:
    """Return a part of the evidence, or say that it is missing.

    Raises:
        MibenchError: if the part is ``None`` or empty.
    """
    if part is None or (hasattr(part, "__len__") and len(part) == 0):
        raise MibenchError(f"{metric} needs {what}, but the evidence holds none; the protocol must provide it")
    return part
