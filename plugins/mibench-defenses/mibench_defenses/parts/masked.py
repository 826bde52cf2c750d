"""A mask in front of a classifier, or of images.

Shapes: B images of a batch, C channels, H = W pixels, N and M images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from mibench.api import Classifier, ImageSet, OmitIfDefault, Outputs, from_uint8, resize, to_uint8
from mibench_defenses.parts.wrapping import same_adapter


@dataclass(frozen=True, kw_only=True)
class Mask:
    """How a mask is learnt, and used once it is final.

    Attributes:
        init: initial value, (0, 1].
        tau_first: threshold of the group norm in the first epochs.
        tau: threshold after them; below one optimiser step (rate * sqrt(C)) removed pixels can come back.
        switch: share of the epochs that use ``tau_first``.
        binarise: use 1 where the final mask is not 0.
        method: where the final network masks in training; every evaluation masks in the network. ``layer``: in the
            network, after augmentation, which moves unread pixels into view; ``transform``: before augmentation;
            ``dataset``: before augmentation, in 8-bit images.
        removed: share of the pixels that the final network does not read, those with the smallest group norms, however
            many the thresholds left; 0 takes what the thresholds removed.
    """

    init: Annotated[float, Gt(0), Le(1)] = 0.5
    tau_first: Annotated[float, Ge(0)] = 1e-6
    tau: Annotated[float, Ge(0)] = 0.0025
    switch: Annotated[float, Ge(0), Le(1)] = 0.1
    binarise: bool = False
    method: Literal["layer", "transform", "dataset"] = "transform"
    removed: Annotated[float, Ge(0), Lt(1), OmitIfDefault()] = 0.0


class MaskedClassifier(Classifier):
    """A classifier that sees 1/2 + mask * (x - 1/2), at the side of the mask.

    Args:
        plain: the network; its body moves here, so head, stages and names of weights stay.
        mask_CHW: a parameter, which is trained, or a tensor, which is kept.
        everywhere: mask in training mode too.
    """

    mask_CHW: Tensor

    def __init__(self, plain: Classifier, mask_CHW: Tensor, *, everywhere: bool) -> None:
        super().__init__(**same_adapter(plain))
        self.everywhere = everywhere
        if isinstance(mask_CHW, nn.Parameter):
            self.mask_CHW = mask_CHW
        else:
            self.register_buffer("mask_CHW", mask_CHW)
        self.to(mask_CHW.device).train(plain.training)

    def outputs(self, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        """Mask, then run the network once."""
        if self.everywhere or not self.training:
            x_BCHW = masked(resize(x_BCHW, self.mask_CHW.shape[-1]), self.mask_CHW)
        return super().outputs(x_BCHW, stages=stages)


@dataclass(frozen=True)
class MaskedImages(ImageSet):
    """Images behind a mask, rounded to 8 bits as if they had been written.

    Attributes:
        base: the images.
        mask_CHW: the mask, on the CPU.
    """

    base: ImageSet
    mask_CHW: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels_N", self.base.labels_N)
        object.__setattr__(self, "num_classes", self.base.num_classes)

    def images(self, indices_B: Tensor) -> Tensor:
        """Return the masked images at these indices: float32 (B, C, H, W) in [0, 1]."""
        return from_uint8(to_uint8(masked(self.base.images(indices_B), self.mask_CHW)))

    def subset(self, indices_M: Tensor) -> MaskedImages:
        """Return the masked images at these indices as a set of its own."""
        return replace(self, base=self.base.subset(indices_M))

    def relabel(self, labels_N: Tensor) -> MaskedImages:
        """Return the masked images under other labels."""
        return replace(self, base=self.base.relabel(labels_N))


def masked(x_BCHW: Tensor, mask_CHW: Tensor) -> Tensor:
    """Return 1/2 + mask * (x - 1/2): exactly mid-grey where the mask is 0."""
    return 0.5 + mask_CHW * (x_BCHW - 0.5)


def smallest(norms_HW: Tensor, share: float) -> Tensor:
    """Return which pixels (H, W) are the given share with the smallest norms; of equal ones the first, row by row."""
    number = round(share * norms_HW.numel())
    order = norms_HW.flatten().argsort(stable=True)
    flags = torch.zeros(norms_HW.numel(), dtype=torch.bool, device=norms_HW.device)
    flags[order[:number]] = True
    return flags.view(norms_HW.shape)
