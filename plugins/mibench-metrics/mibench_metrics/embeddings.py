"""What an independent embedder makes of images: normalised embeddings, and one centroid for each person.

Shapes: N images, D embedding size, K people.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, is_dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mibench.api import Embedder, ImageSet, IndexedImages, MetricContext, TensorImages
from mibench_metrics.inference import batches

REMEMBERED = 4
"""Sets of images whose centroids a process keeps: private people and distractors, of two folds."""
_KNOWN: dict[tuple[str, ...], Tensor] = {}


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
    """Return the centroid of each person in a set of images (K, D), float64 on the CPU.

    A process measures many attacks against one gallery of a thousand people, so the last few are remembered, by what
    the images and the embedder's parameters are.
    """
    key = _key(embedder, images, ctx)
    if key is not None and key in _KNOWN:
        return _KNOWN[key].clone()
    made_KD = centroids(embed(embedder, images, ctx), images.labels_N, images.num_classes)
    if key is not None:
        while len(_KNOWN) >= REMEMBERED:
            del _KNOWN[next(iter(_KNOWN))]
        _KNOWN[key] = made_KD.clone()
    return made_KD


def _key(embedder: Embedder, images: ImageSet, ctx: MetricContext) -> tuple[str, ...] | None:
    """Return what centroids depend on; ``None`` where that is more than pixels, labels and parameters."""
    if not is_dataclass(embedder):
        return None
    if isinstance(images, TensorImages):
        pixels = hashlib.sha256(images.pixels_NCHW.contiguous().numpy().tobytes())
        pixels.update(repr((tuple(images.pixels_NCHW.shape), images.num_classes, images.labels_N.tolist())).encode())
    elif isinstance(images, IndexedImages) and images.content:  # too many to be read for a digest; the file has one
        pixels = hashlib.sha256(f"{images.content} {images.rows_N.tolist()} {images.num_classes}".encode())
        pixels.update(repr(images.labels_N.tolist()).encode())
    else:
        return None
    kind, parameters = type(embedder), repr(asdict(embedder))
    return kind.__module__, kind.__qualname__, parameters, str(ctx.device), pixels.hexdigest()
