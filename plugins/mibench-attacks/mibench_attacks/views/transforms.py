"""Differentiable random views of images: a resized crop, perhaps mirrored, rotated, brighter or with more contrast.

A view is drawn first and applied later, so that cutting a batch into smaller ones changes nothing.
Shapes: N images, B of a batch, C channels, S = side in pixels, 4 = top, left, height, width of a box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from mibench.api import UsageError, resize

_TRIES = 10  # as torchvision: proposals before the fallback to a central crop


@dataclass(frozen=True)
class Draw:
    """The drawn parameters of N views.

    Attributes:
        boxes_N4: int64 on the CPU: top, left, height and width of each crop in pixels.
        flips_N: bool on the CPU: whether each image is mirrored.
        angles_N: rotation in degrees, counter-clockwise; ``None`` for none.
        gains_N2: factors of brightness and contrast; ``None`` for none.
    """

    boxes_N4: Tensor
    flips_N: Tensor
    angles_N: Tensor | None = None
    gains_N2: Tensor | None = None

    def part(self, rows: slice) -> Draw:
        """Return the parameters of some of the images."""
        angles = None if self.angles_N is None else self.angles_N[rows]
        gains = None if self.gains_N2 is None else self.gains_N2[rows]
        return Draw(self.boxes_N4[rows], self.flips_N[rows], angles, gains)

    def apply(self, x_NCSS: Tensor) -> Tensor:
        """Crop, resize back to the same side (bilinear), change colours, mirror and rotate, differentiably."""
        x_NCSS = self._crop(x_NCSS)
        if self.gains_N2 is not None:
            x_NCSS = recolour(x_NCSS, self.gains_N2)
        if bool(self.flips_N.any()):
            x_NCSS = torch.where(self.flips_N.view(-1, 1, 1, 1).to(x_NCSS.device), hflip(x_NCSS), x_NCSS)
        return x_NCSS if self.angles_N is None else rotate(x_NCSS, self.angles_N)

    def _crop(self, x_NCSS: Tensor) -> Tensor:
        side = x_NCSS.shape[-1]
        if bool((self.boxes_N4 == self.boxes_N4[0]).all()):
            top, left, height, width = self.boxes_N4[0].tolist()
            return resize(x_NCSS[..., top : top + height, left : left + width], side)
        return crop_each(x_NCSS, self.boxes_N4)


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """A random resized crop with a random horizontal flip, drawn like torchvision's (area uniform, log ratio uniform).

    The other changes are off by default.

    Attributes:
        scale: smallest and largest share of the area that is kept, in (0, 1].
        ratio: smallest and largest width / height of the crop.
        flip: probability of mirroring, in [0, 1].
        rotate: largest rotation to either side, in degrees.
        jitter: brightness and contrast are multiplied by factors within 1 - jitter and 1 + jitter.
        per_sample: draw for each image; the default draws once for the whole batch, as torchvision does on tensors and
            therefore PPA.

    Raises:
        UsageError: for empty or impossible ranges.
    """

    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    rotate: float = 0.0
    jitter: float = 0.0
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
        angles, gains = None, None
        if self.rotate:
            angles = (self.rotate * (2 * torch.rand(count, generator=rng) - 1)).expand(n)
        if self.jitter:
            gains = (1 + self.jitter * (2 * torch.rand(count, 2, generator=rng) - 1)).expand(n, 2)
        return Draw(boxes.expand(n, 4), flips.expand(n), angles, gains)

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


def recolour(x_BCSS: Tensor, gains_B2: Tensor) -> Tensor:
    """Multiply by the brightness factor, then the distance from the mean grey by the contrast factor, uncut."""
    brightness_B, contrast_B = (gain.view(-1, 1, 1, 1) for gain in gains_B2.to(x_BCSS).unbind(1))
    x_BCSS = x_BCSS * brightness_B
    grey_B = x_BCSS.mean(dim=(1, 2, 3), keepdim=True)
    return grey_B + contrast_B * (x_BCSS - grey_B)


def rotate(x_BCSS: Tensor, degrees_B: Tensor) -> Tensor:
    """Rotate counter-clockwise about the centre (bilinear); pixels from outside repeat the border."""
    radians_B = torch.deg2rad(degrees_B.to(x_BCSS))
    cos_B, sin_B, zero_B = radians_B.cos(), radians_B.sin(), torch.zeros_like(radians_B)
    rows = [torch.stack([cos_B, -sin_B, zero_B], 1), torch.stack([sin_B, cos_B, zero_B], 1)]
    grid_BSS2 = affine_grid(torch.stack(rows, 1), list(x_BCSS.shape), align_corners=False)
    return grid_sample(x_BCSS, grid_BSS2, mode="bilinear", padding_mode="border", align_corners=False)


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
