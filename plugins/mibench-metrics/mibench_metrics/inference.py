"""Outputs of frozen networks on sets of images, batch by batch.

Shapes: N images, B of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mibench.api import Classifier, ImageSet, MetricContext, MibenchError

BATCH = 64
"""Images per forward pass. It changes speed only: networks are in evaluation mode."""


def logits_of(model: Classifier, images: ImageSet | Tensor, ctx: MetricContext) -> Tensor:
    """Return the logits (N, K) of a classifier in evaluation mode, float64 on the CPU.

    Args:
        model: the classifier; it is moved to ``ctx.device``.
        images: (N, C, H, W) in [0, 1], or a set that is read batch by batch.
        ctx: device and progress.
    """
    model = model.to(ctx.device).eval()
    rows = []
    with torch.no_grad():
        for x_BCHW in batches(images, ctx):
            rows.append(model(x_BCHW.to(ctx.device)).double().cpu())
    return torch.cat(rows)


def features_of(model: Classifier, images: ImageSet | Tensor, ctx: MetricContext) -> Tensor:
    """Return the features (N, D) that enter the head of a classifier in evaluation mode, float64 on the CPU.

    Args:
        model: the classifier; it is moved to ``ctx.device``.
        images: (N, C, H, W) in [0, 1], or a set that is read batch by batch.
        ctx: device and progress.
    """
    model = model.to(ctx.device).eval()
    rows = []
    with torch.no_grad():
        for x_BCHW in batches(images, ctx):
            rows.append(model.features(x_BCHW.to(ctx.device)).flatten(1).double().cpu())
    return torch.cat(rows)


def batches(images: ImageSet | Tensor, ctx: MetricContext) -> Iterator[Tensor]:
    """Yield images (B, C, H, W) in order and report progress.

    Raises:
        MibenchError: if there is not a single image.
    """
    total = len(images)
    if total == 0:
        raise MibenchError("there are no images to measure; the split or the attack delivered nothing")
    for indices_B in torch.split(torch.arange(total), BATCH):
        yield some_of(images, indices_B)
        ctx.progress(int(indices_B[-1]) + 1, total, "images", {})


def some_of(images: ImageSet | Tensor, indices_B: Tensor) -> Tensor:
    """Return the images at these indices (B, C, H, W)."""
    return images[indices_B] if isinstance(images, Tensor) else images.images(indices_B)


def label_ranks(scores_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Return how many classes are ranked before the label: 0 means top-1. Int64 (N,).

    Ties are ordered by class index, as ``argmax`` does. A row with a value that is not a number ranks last, so that a
    network that diverged is not credited with a hit.
    """
    own_N1 = scores_NK.gather(1, labels_N.view(-1, 1))
    index_1K = torch.arange(scores_NK.shape[1]).view(1, -1)
    tied_before_NK = (scores_NK == own_N1) & (index_1K < labels_N.view(-1, 1))
    ranks_N = ((scores_NK > own_N1) | tied_before_NK).sum(1)
    return torch.where(scores_NK.isnan().any(1), scores_NK.shape[1], ranks_N)
