"""The perceptual distance of reconstructions to the training images that they come nearest to.

Shapes: N reconstructions, G training images, B of a batch, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mibench.api import ImageSet, Measurement, MetricContext, MetricInputs, Quantity
from mibench_metrics.feature_distances import squared
from mibench_metrics.inference import BATCH, some_of
from mibench_metrics.measurements import average

Distance = Callable[[Tensor, Tensor], Tensor]


def look_alike(
    distance: Distance,
    made_ND: Tensor,
    real_GD: Tensor,
    real: ImageSet,
    evidence: MetricInputs,
    ctx: MetricContext,
) -> Measurement:
    """Return ``lpips``: the mean distance of a reconstruction to the nearest training image of its class.

    Args:
        distance: of two batches of images.
        made_ND: embeddings of the reconstructions.
        real_GD: embeddings of the training images of the attacked classes.
        real: these images.
        evidence: the reconstructions. A class on which the attack failed counts as one photograph of each other class.
        ctx: device and progress.
    """
    near_N = nearest(made_ND, evidence.labels_N, real_GD, real.labels_N)
    values = []
    for index_B in torch.arange(len(near_N)).split(BATCH):
        pair = some_of(evidence.reconstructions, index_B), real.images(near_N[index_B])
        values.append(distance(*(x_BCHW.to(ctx.device) for x_BCHW in pair)).cpu())
    details: dict[str, Any] = {"real": len(real), "nearest": near_N.tolist()}
    return average(
        Quantity(base="lpips"),
        torch.cat(values),
        evidence.labels_N,
        evidence.num_classes,
        higher_is_better=True,
        unit="lpips",
        failed={label: _others(distance, label, real_GD, real, ctx) for label in evidence.failed},
        details=details,
    )


def nearest(made_ND: Tensor, labels_N: Tensor, real_GD: Tensor, owners_G: Tensor) -> Tensor:
    """Return the index of the real image of the own class whose embedding is nearest (N,)."""
    found_N = torch.zeros(len(made_ND), dtype=torch.long)
    for label in labels_N.unique():
        own_M = (owners_G == label).nonzero().flatten()
        mine = labels_N == label
        found_N[mine] = own_M[squared(made_ND[mine], real_GD[own_M]).argmin(1)]
    return found_N


def _others(distance: Distance, label: int, real_GD: Tensor, real: ImageSet, ctx: MetricContext) -> float:
    owners = real.labels_N.tolist()
    first = {owner: index for index, owner in reversed(list(enumerate(owners))) if owner != label}
    index_B = torch.tensor(sorted(first.values()))
    near_B = nearest(real_GD[index_B], torch.full_like(index_B, label), real_GD, real.labels_N)
    found_B = distance(real.images(index_B).to(ctx.device), real.images(near_B).to(ctx.device))
    return found_B.double().mean().item()
