"""Differentiable random views of images: a resized crop, perhaps mirrored.

A view is drawn first and applied later, so that cutting a batch into smaller ones changes nothing.
Shapes: N images, B of a batch, C channels, S = side in pixels, 4 = top, left, height, width of a box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mibench.api import UsageError, resize

_TRIES = 10  # as torchvision: proposals before the fallback to a central crop


@dataclass(frozen=True)
class Draw:
    """The drawn parameters of N views.

    Attributes:
        boxes_N4: int64 on the CPU: top, left, height and width of each crop in pixels.
        flips_N: bool on the CPU: whether each image is mirrored.
    """

    boxes_N4: Tensor
    flips_N: Tensor

    def part(self, rows: slice) -> Draw:
        """Return the parameters of some of the images."""
        return Draw(self.boxes_N4[rows], self.flips_N[rows])

    def apply(self, x_NCSS: Tensor) -> Tensor:
        """Crop, resize back to the same side (bilinear) and mirror, differentiably."""
        side = x_NCSS.shape[-1]
        if bool((self.boxes_N4 == self.boxes_N4[0]).all()):
            top, left, height, width = self.boxes_N4[0].tolist()
            x_NCSS = resize(x_NCSS[..., top : top + height, left : left + width], side)
        else:
            x_NCSS = crop_each(x_NCSS, self.boxes_N4)
        if not bool(self.flips_N.any()):
            return x_NCSS
        return torch.where(self.flips_N.view(-1, 1, 1, 1).to(x_NCSS.device), hflip(x_NCSS), x_NCSS)


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """A random resized crop with a random horizontal flip, drawn like torchvision's (area uniform, log ratio uniform).

    Attributes:
        scale: smallest and largest share of the area that is kept, in (0, 1].
        ratio: smallest and largest width / height of the crop.
        flip: probability of mirroring, in [0, 1].
        per_sample: draw for each image; the default draws once for the whole batch, as torchvision does on tensors and
            therefore PPA.

    Raises:
        UsageError: for empty or impossible ranges.
    """

    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    per_sample: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise UsageError(f"crop scale: expected 0 < smallest <= largest <= 1, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise UsageError(f"crop ratio: expected 0 < smallest <= largest, got {self.ratio}")

    def draw(self, n: int, side: int, rng: torch.Generator) -> Draw:
        """Draw the views of ``n`` square images of ``side`` pixels from a CPU generator."""
        count = n if self.per_sample else 1
        boxes = torch.tensor([self._box(side, rng) for _ in range(count)])
        flips = torch.rand(count, generator=rng) < self.flip
        return Draw(boxes.expand(n, 4), flips.expand(n))

    def _box(self, side: int, rng: torch.Generator) -> tuple[int, int, int, int]:
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for area_u, ratio_u, top_u, left_u in torch.rand(_TRIES, 4, generator=rng).tolist():
            area = side * side * (self.scale[0] + area_u * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + ratio_u * (high - low))
            height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < height <= side and 0 < width <= side:
                return int(top_u * (side - height + 1)), int(left_u * (side - width + 1)), height, width
        ratio = min(max(1.0, self.ratio[0]), self.ratio[1])
        height, width = round(side / max(ratio, 1.0)), round(side * min(ratio, 1.0))
        return (side - height) // 2, (side - width) // 2, height, width


def identity(x_BCSS: Tensor) -> Tensor:
    """Return the images unchanged."""
    return x_BCSS


def hflip(x_BCSS: Tensor) -> Tensor:
    """Mirror the images left to right."""
    return x_BCSS.flip(-1)


def crop_each(x_BCSS: Tensor, boxes_B4: Tensor) -> Tensor:
    """Cut another box out of each image and resize it (bilinear) to the image's side; equals cropping one by one.

    Sampling positions are kept inside the box, so that no pixel outside of it bleeds in, as with a real crop. A crop is
    never larger than the image, so antialiasing would change nothing.
    """
    side = x_BCSS.shape[-1]
    top_B1, left_B1, height_B1, width_B1 = boxes_B4.to(x_BCSS).unsqueeze(-1).unbind(1)
    centre_S = (torch.arange(side).to(x_BCSS) + 0.5) / side
    y_BS = top_B1 + torch.minimum((centre_S * height_B1 - 0.5).clamp_min(0), height_B1 - 1)
    x_BS = left_B1 + torch.minimum((centre_S * width_B1 - 0.5).clamp_min(0), width_B1 - 1)
    shape = (-1, side, side)
    pixel_BSS2 = torch.stack([x_BS[:, None, :].expand(shape), y_BS[:, :, None].expand(shape)], dim=-1)
    grid_BSS2 = (2 * pixel_BSS2 + 1) / side - 1
    return grid_sample(x_BCSS, grid_BSS2, mode="bilinear", padding_mode="border", align_corners=False)
