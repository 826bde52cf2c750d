"""Random erasing of training images.

Shapes: B images of a batch, C channels, H = W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Classifier, Defense, SelfCheck, TrainContext, Transform, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
GREY_OF_RGB = (0.299, 0.587, 0.114)
"""Luma of ITU-R BT.601."""


@dataclass(frozen=True, kw_only=True)
class RandomErasing(Defense):
    """Erase one rectangle at a random place of every training image, after the recipe's augmentation.

    Its area is uniform in [area_min, area_max] and every place inside the image is as likely. Its aspect ratio is
    log-uniform among those at which a rectangle of that area fits, so that areas come out as asked for, up to rounding
    to pixels. Only training images are erased: the network that is deployed takes whole ones.

    Source: Tran, Nguyen et al., TMLR 2025 (MIDRE); random erasing: Zhong et al., AAAI 2020.

    Attributes:
        area_min: smallest area, as a fraction of the image.
        area_max: largest area, as a fraction of the image.
        aspect_min: smallest height over width (of the rectangle, both as fractions of the image's sides).
        aspect_max: largest height over width.
        fill: what erased pixels become: a number in [0, 1], ``zero``, ``mean`` (of ImageNet, per channel), or ``noise``
            (uniform in [0, 1], each pixel its own).
        probability: of erasing at all, for each image.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # Areas and fill as recalled from the paper, for its low- and high-resolution experiments: NOT verified.
        "low-res": {"area_min": 0.1, "area_max": 0.4, "fill": "mean"},
        "high-res": {"area_min": 0.1, "area_max": 0.8, "fill": "mean"},
    }

    area_min: Annotated[float, Ge(0), Le(1)] = 0.1
    area_max: Annotated[float, Gt(0), Le(1)] = 0.4
    aspect_min: Annotated[float, Gt(0)] = 0.3
    aspect_max: Annotated[float, Gt(0)] = 1 / 0.3
    fill: Literal["mean", "zero", "noise"] | Annotated[float, Ge(0), Le(1)] = "mean"
    probability: Annotated[float, Ge(0), Le(1)] = 1.0

    def __post_init__(self) -> None:
        if self.area_min > self.area_max or self.aspect_min > self.aspect_max:
            raise UsageError("midre: area_min must be at most area_max, and aspect_min at most aspect_max.")
        if self.aspect_min * self.area_max > 1 or self.aspect_max < self.area_max:
            raise UsageError(
                f"midre: no rectangle of {self.area_max:g} of the image fits into it with an aspect ratio in"
                f" [{self.aspect_min:g}, {self.aspect_max:g}]. Lower area_max, or let the range contain 1."
            )

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Leave the network; begin to count erased and seen pixels."""
        ctx.extras["pixels"] = torch.zeros(2, dtype=torch.int64, device=ctx.device)
        return classifier

    def train_transform(self, base: Transform, ctx: TrainContext) -> Transform:
        """Return the recipe's augmentation followed by erasing."""

        def erase(x_BCHW: Tensor) -> Tensor:
            x_BCHW = base(x_BCHW)
            batch, _, height, width = x_BCHW.shape
            mask_BHW = self.rectangles(batch, height, width).to(x_BCHW.device)
            seen = torch.full_like(ctx.extras["pixels"][0], mask_BHW.numel())
            ctx.extras["pixels"] += torch.stack([mask_BHW.sum().to(seen), seen])
            return torch.where(mask_BHW[:, None], self.filling(x_BCHW), x_BCHW)

        return erase

    def rectangles(self, batch: int, height: int, width: int) -> Tensor:
        """Draw one rectangle per image from torch's global CPU generator; true inside, (B, H, W)."""
        area_B, aspect_B, top_B, left_B, chance_B = torch.rand(5, batch)
        area_B = self.area_min + (self.area_max - self.area_min) * area_B
        lowest_B, highest_B = area_B.clamp(min=self.aspect_min).log(), (1 / area_B).clamp(max=self.aspect_max).log()
        aspect_B = (lowest_B + (highest_B - lowest_B) * aspect_B).exp()
        rows_BH = _interval((area_B * aspect_B).sqrt(), top_B, height)
        columns_BW = _interval((area_B / aspect_B).sqrt(), left_B, width)
        chosen_B = chance_B < self.probability
        mask_BHW: Tensor = rows_BH[:, :, None] & columns_BW[:, None, :] & chosen_B[:, None, None]
        return mask_BHW

    def filling(self, x_BCHW: Tensor) -> Tensor:
        """Return what erased pixels become, of a shape that broadcasts to the images'."""
        if self.fill == "noise":
            return torch.rand(x_BCHW.shape).to(x_BCHW)
        if self.fill != "mean":
            return torch.tensor(0.0 if self.fill == "zero" else self.fill).to(x_BCHW)
        grey = sum(weight * mean for weight, mean in zip(GREY_OF_RGB, IMAGENET_MEAN, strict=True))
        mean_C: Tensor = x_BCHW.new_tensor(IMAGENET_MEAN if x_BCHW.shape[1] == 3 else [grey])
        return mean_C.view(-1, 1, 1)

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff pixels were erased, at least half of the share that was asked for."""
        erased, seen = ctx.extras["pixels"].tolist()
        share, wanted = erased / max(1, seen), self.probability * (self.area_min + self.area_max) / 2
        reason = f"{share:.1%} of the pixels of training images were erased, {wanted:.1%} were asked for"
        return SelfCheck(erased > 0 and share >= wanted / 2, {"erased": share, "asked": wanted}, reason)


def _interval(share_B: Tensor, place_B: Tensor, side: int) -> Tensor:
    """Return where intervals of a share of the side lie, each place inside as likely; (B, side)."""
    length_B = (share_B * side).round().clamp(1, side)
    # Rounded in float32, the product can reach the whole of its range.
    start_B = (place_B * (side - length_B + 1)).floor().minimum(side - length_B)
    pixels = torch.arange(side)
    return (pixels >= start_B[:, None]) & (pixels < (start_B + length_B)[:, None])
