"""Perturbations as long as an adversarial one that point elsewhere: an arm beside AT-AT.

Shapes: B images of a batch, C channels, H = W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_direction(x_BCHW: Tensor, x_adv_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    """Return images moved as far as the adversarial ones, in a random direction.

    The magnitudes of each image's perturbation change places (all images of the batch in the same order) and get random
    signs. So its L1, L2 and L-infinity norms stay what they were, up to rounding, while nothing of the direction stays,
    not even where the range of pixels held the adversary back. A sign that would leave [0, 1] is turned.

    Args:
        x_BCHW: images in [0, 1].
        x_adv_BCHW: the same with their adversarial perturbations, each at most .5.
        rng: CPU generator of places and signs.
    """
    size_BP = (x_BCHW.shape[0], x_BCHW[0].numel())
    places_P = torch.randperm(size_BP[1], generator=rng).to(x_BCHW.device)
    plus_BCHW = (torch.rand(size_BP, generator=rng) < 0.5).to(x_BCHW.device).view_as(x_BCHW)
    length_BCHW = (x_adv_BCHW - x_BCHW).abs().flatten(1)[:, places_P].view_as(x_BCHW)
    up_BCHW, down_BCHW = x_BCHW + length_BCHW, x_BCHW - length_BCHW
    chosen_BCHW = torch.where((plus_BCHW & (up_BCHW <= 1)) | (down_BCHW < 0), up_BCHW, down_BCHW)
    return chosen_BCHW.clamp(0, 1)
