"""The images under attack, read batch by batch.

Shapes: N images, B of a batch, C channels, H = W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mibench.api import ImageSet


@dataclass(frozen=True)
class EvalImages:
    """The images under attack.

    Attributes:
        images: the set; it may be too large for memory.
        batch: images per batch.
        device: where to compute.
    """

    images: ImageSet
    batch: int
    device: torch.device

    def all_mask(self) -> Tensor:
        """Return a mask (N,) that chooses all images."""
        return torch.ones(len(self.images), dtype=torch.bool)

    def batches(self, chosen_N: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield indices (B,) on the CPU, images (B, C, H, W) and labels (B,) on the device, of the chosen images."""
        for index_B in torch.split(chosen_N.nonzero().flatten(), self.batch):
            if len(index_B):
                labels_B = self.images.labels_N[index_B].to(self.device)
                yield index_B, self.images.images(index_B).to(self.device), labels_B
