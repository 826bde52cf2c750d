"""What an independent embedder makes of images: normalised embeddings, and one centroid for each person.

Shapes: N images, D embedding size, K private people, P people of a gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mibench.api import Embedder, IdentityGallery, ImageSet, MetricContext
from mibench_metrics.inference import batches


@dataclass(frozen=True)
class People:
    """The people of a gallery: the private ones, by class, then the distractors.

    Attributes:
        centroids_PD: normalised embeddings, float64; zero for a class without a picture.
        present_P: who has a picture.
        private: K, the number of classes, with which the rows begin.
    """

    centroids_PD: Tensor
    present_P: Tensor
    private: int


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


def people_of(embedder: Embedder, gallery: IdentityGallery, ctx: MetricContext) -> People:
    """Return everybody in a gallery."""
    sets = [gallery.private, *([gallery.distractors] if gallery.distractors else [])]
    return People(
        torch.cat([centroids_of(embedder, images, ctx) for images in sets]),
        torch.cat([torch.bincount(images.labels_N, minlength=images.num_classes) > 0 for images in sets]),
        gallery.private.num_classes,
    )


def centroids_of(embedder: Embedder, images: ImageSet, ctx: MetricContext) -> Tensor:
    """Return the centroid of each person in a set of images (K, D)."""
    return centroids(embed(embedder, images, ctx), images.labels_N, images.num_classes)
