"""The views of Diff-MI: flipped, with other brightness and contrast, some of them blurred.

Shapes: N images, B of a batch, C channels, S = side in pixels.
Source: the code of Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from mibench_attacks.views.transforms import Draw, RandomView

BLUR_TAPS, BLUR_SIGMA = 7, 3.0
FLIP_AND_COLOUR = RandomView(scale=(1.0, 1.0), flip=0.5, jitter=0.2, per_sample=True)


def blurred(x_BCSS: Tensor) -> Tensor:
    """Blur with a 7 x 7 Gaussian of deviation 3; the border repeats."""
    taps = torch.arange(BLUR_TAPS).to(x_BCSS) - BLUR_TAPS // 2
    weights = (-taps.square() / (2 * BLUR_SIGMA**2)).exp()
    weights = (weights / weights.sum()).expand(x_BCSS.shape[1], 1, 1, -1)
    reach, groups = BLUR_TAPS // 2, x_BCSS.shape[1]
    x_BCSS = pad(x_BCSS, (reach, reach, reach, reach), mode="replicate")
    x_BCSS = conv2d(x_BCSS, weights, groups=groups)
    return conv2d(x_BCSS, weights.transpose(2, 3), groups=groups)


@dataclass(frozen=True)
class BlurDraw:
    """N drawn views: flipped, recoloured, some blurred, and cut to [0, 1].

    Attributes:
        draw: flips and colours.
        blurs_N: bool on the CPU: whether each image is blurred.
    """

    draw: Draw
    blurs_N: Tensor

    @staticmethod
    def drawn(n: int, side: int, rng: torch.Generator) -> BlurDraw:
        """Draw; half of the images are mirrored, half are blurred."""
        return BlurDraw(FLIP_AND_COLOUR.draw(n, side, rng), torch.rand(n, generator=rng) < 0.5)

    def part(self, rows: slice) -> BlurDraw:
        """Return the views of some of the images."""
        return BlurDraw(self.draw.part(rows), self.blurs_N[rows])

    def apply(self, x_NCSS: Tensor) -> Tensor:
        """Change the images, differentiably where they are not cut."""
        x_NCSS = self.draw.apply(x_NCSS)
        blurs_N111 = self.blurs_N.view(-1, 1, 1, 1).to(x_NCSS.device)
        return torch.where(blurs_N111, blurred(x_NCSS), x_NCSS).clamp(0, 1)
