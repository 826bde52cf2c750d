"""The split of the model-inversion papers at 224 pixels: nine tenths train, drawn with seed 42.

Source: released code of Struppek et al., "Plug & Play Attacks", ICML 2022 (training and test images), and of "Anti-
Adversarial Training", ICLR 2026 (a fifth of the former validates).
"""

from __future__ import annotations

import numpy as np
import torch

SEED = 42


def published_split(count: int, *, validate: float = 0.2) -> list[str]:
    """Return what each of N images is for.

    numpy's legacy generator with seed 42 shuffles the indices; the first ``int(0.9 N)`` train. Of these, torch's
    permutation with seed 42 sets the last fifth aside to validate.

    Args:
        count: N.
        validate: share of the training images that validates.
    """
    indices = list(range(count))
    np.random.RandomState(SEED).shuffle(indices)
    kept = indices[: int(0.9 * count)]
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(SEED)).tolist()
    training = int((1 - validate) * len(kept))
    parts = ["test"] * count
    for place, index in enumerate(order):
        parts[kept[index]] = "train" if place < training else "val"
    return parts
