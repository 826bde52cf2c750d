"""How a target guides the training of a generator: a margin of its logits, on randomly changed images.

Shapes: B images, K classes, C channels, H = W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

AREA = (0.8, 1.0)
DEGREES = 5.0
JITTER = 0.2


def margin(logits_BK: Tensor, y_B: Tensor, *, k: int = 1) -> Tensor:
    """Return ``-l_y`` + mean of the k largest other logits (B,), float32; k = 1 is PLG-MI's max-margin loss."""
    logits_BK = logits_BK.float()
    rivals_BK = logits_BK.scatter(1, y_B[:, None], -math.inf).topk(min(k, logits_BK.shape[1] - 1), dim=1).values
    return rivals_BK.mean(1) - logits_BK.gather(1, y_B[:, None]).squeeze(1)


def changed(x_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    """Crop, rotate, mirror and recolour each image on its own, differentiably, as PLG-MI shows them to the target.

    The crop keeps 80 to 100 % of the area, the rotation is at most 5 degrees, half of the images are mirrored,
    brightness and contrast change by up to 20 %. One resampling does all geometry; pixels from outside repeat the edge.
    """
    u_7B = torch.rand(7, len(x_BCHW), generator=rng).to(x_BCHW)
    side_B = (AREA[0] + (AREA[1] - AREA[0]) * u_7B[0]).sqrt()
    right_B, down_B = (1 - side_B) * (2 * u_7B[1] - 1), (1 - side_B) * (2 * u_7B[2] - 1)
    angle_B = math.radians(DEGREES) * (2 * u_7B[3] - 1)
    cos_B, sin_B = side_B * angle_B.cos(), side_B * angle_B.sin()
    mirror_B = torch.where(u_7B[4] < 0.5, -1.0, 1.0)
    rows = [torch.stack([mirror_B * cos_B, -sin_B, right_B], 1), torch.stack([mirror_B * sin_B, cos_B, down_B], 1)]
    grid_BHW2 = affine_grid(torch.stack(rows, 1), list(x_BCHW.shape), align_corners=False)
    x_BCHW = grid_sample(x_BCHW, grid_BHW2, padding_mode="border", align_corners=False)
    brightness_B, contrast_B = (1 + JITTER * (2 * u_7B[5:] - 1)).view(2, -1, 1, 1, 1).unbind(0)
    x_BCHW = x_BCHW * brightness_B
    return torch.lerp(x_BCHW.mean(dim=(1, 2, 3), keepdim=True).expand_as(x_BCHW), x_BCHW, contrast_B.expand_as(x_BCHW))
