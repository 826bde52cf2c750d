"""Top-n pseudo labels: which public images a target takes for each of its classes.

Shapes: N public images, K classes of the target, T images chosen per class, B images of a batch.
Source: Yuan et al., "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial Network"
(AAAI 2023), section "Top-n selection"; Diff-MI (Li et al., 2024) selects in the same way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibench.api import ImageSet, TargetView, UsageError

BATCH = 100


@torch.no_grad()
def pseudo_labels(target: TargetView, images: ImageSet, top: int, *, device: torch.device) -> Tensor:
    """Return the ``top`` public images that the target likes best as each class: int64 indices (K, T), best first.

    One pass over the images. Among equals the earlier image wins, so that the order is fixed. An image may serve
    several classes; every class gets exactly ``top``. Confidences that are not finite come last.

    Raises:
        UsageError: if there are fewer images than ``top``.
    """
    if len(images) < top:
        raise UsageError(f"pseudo labels: expected at least top={top} public images, got {len(images)}; lower top")
    parts = [target.logits(images.images(rows).to(device)) for rows in torch.arange(len(images)).split(BATCH)]
    confidence_NK = torch.cat(parts).float().softmax(1).nan_to_num(nan=-1.0)
    return confidence_NK.sort(dim=0, descending=True, stable=True).indices[:top].T.contiguous().cpu()


def draw_pairs(index_KT: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw images and their pseudo labels with replacement: indices (B,) and classes (B,), all pairs alike."""
    pick_B = torch.randint(index_KT.numel(), (count,), generator=rng)
    return index_KT.flatten()[pick_B], pick_B // index_KT.shape[1]
