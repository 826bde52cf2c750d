"""An order of images that follows from the images, so that batches do not depend on how a set is stored.

Shapes: N images, M of a part, C channels, H = W pixels.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from mibench.api import ImageSet, to_uint8


def canonical_order(images: ImageSet) -> Tensor:
    """Return the indices (N,) of images sorted by the sha256 of label and 8-bit pixels: random, and always the same."""
    keys = []
    for indices_B in torch.arange(len(images)).split(64):
        bytes_BCHW = to_uint8(images.images(indices_B)).numpy()
        labels = images.labels_N[indices_B].tolist()
        keys += [
            hashlib.sha256(label.to_bytes(8, "little") + pixels.tobytes()).digest()
            for label, pixels in zip(labels, bytes_BCHW, strict=True)
        ]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.int64)


def sample(images: ImageSet, size: int | None) -> ImageSet:
    """Return at most ``size`` images in that order, the first ones; ``None`` takes all."""
    return images.subset(canonical_order(images)[:size])
