"""What an independent embedder makes of images: normalised embeddings, and one centroid for each person.

Shapes: N images, D embedding size, K people.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mibench.api import Embedder, ImageSet, MetricContext
from mibench_metrics.inference import batches


def embed(embedder: Embedder, images: ImageSet | Tensor, ctx: MetricContext) -> Tensor:
    """Return L2-normalised embeddings (N, D), float64 on the CPU.

    Raises:
        MibenchError: if there is not a single image.
    """
    rows = []
    with torch.no_grad():
        for x_BCHW in batches(images, ctx):
            rows.append(embedder.embed(x_BCHW.to(ctx.device)).double().cpu())
    return normalize(torch.cat(rows))


def centroids(embeddings_ND: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """Return the normalised mean of the normalised embeddings of each person (K, D); zero for one without any.

    Who has a single image is its embedding.
    """
    sums_KD = torch.zeros(num_classes, embeddings_ND.shape[1], dtype=embeddings_ND.dtype)
    sums_KD.index_add_(0, labels_N, normalize(embeddings_ND))
    return normalize(sums_KD)


def centroids_of(embedder: Embedder, images: ImageSet, ctx: MetricContext) -> Tensor:
    """Return the centroid of each person in a set of images (K, D), float64 on the CPU."""
    return centroids(embed(embedder, images, ctx), images.labels_N, images.num_classes)
