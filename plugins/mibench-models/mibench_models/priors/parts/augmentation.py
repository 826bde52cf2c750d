"""Differentiable augmentation of what a discriminator sees, for small training sets.

Shapes: B images, C channels, H = W pixels; images in [-1, 1].
Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020). Real and generated
images pass through the same policy, with their own draws per image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def _uniform(x_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(len(x_BCHW), 1, 1, 1, generator=rng).to(x_BCHW.device)


def flip(x_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror every image left to right with probability 1/2."""
    return torch.where(_uniform(x_BCHW, rng) < 0.5, x_BCHW.flip(3), x_BCHW)


def color(x_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    """Shift brightness by up to 0.5, scale saturation by 0 .. 2 and contrast by 0.5 .. 1.5."""
    x_BCHW = x_BCHW + (_uniform(x_BCHW, rng) - 0.5)
    grey_B1HW = x_BCHW.mean(dim=1, keepdim=True)
    x_BCHW = torch.lerp(grey_B1HW.expand_as(x_BCHW), x_BCHW, 2 * _uniform(x_BCHW, rng).expand_as(x_BCHW))
    mean_B111 = x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    return mean_B111 + (x_BCHW - mean_B111) * (0.5 + _uniform(x_BCHW, rng))


def translate(x_BCHW: Tensor, rng: torch.Generator, ratio: float = 0.125) -> Tensor:
    """Shift every image by up to ``ratio`` of its side, filling with 0 (mid-grey)."""
    batch, _, side, _ = x_BCHW.shape
    reach = round(side * ratio)
    shift_2B = torch.randint(0, 2 * reach + 1, (2, batch), generator=rng).to(x_BCHW.device)
    line_S = torch.arange(side, device=x_BCHW.device)
    rows_BS1 = (shift_2B[0][:, None] + line_S)[:, :, None]
    columns_B1S = (shift_2B[1][:, None] + line_S)[:, None, :]
    padded_BHWC = pad(x_BCHW, (reach, reach, reach, reach)).permute(0, 2, 3, 1)
    index_B11 = torch.arange(batch, device=x_BCHW.device)[:, None, None]
    return padded_BHWC[index_B11, rows_BS1, columns_B1S].permute(0, 3, 1, 2)


def cutout(x_BCHW: Tensor, rng: torch.Generator, ratio: float = 0.5) -> Tensor:
    """Set a square of ``ratio`` of the side, centred anywhere, to 0."""
    batch, _, side, _ = x_BCHW.shape
    centre_2B1 = torch.randint(0, side + 1, (2, batch, 1), generator=rng)
    near_2BS = (torch.arange(side) - centre_2B1).abs() < side * ratio / 2
    hole_B1SS = (near_2BS[0][:, :, None] & near_2BS[1][:, None, :])[:, None]
    return x_BCHW * (~hole_B1SS).to(x_BCHW)


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "color": color, "translate": translate, "cutout": cutout}
"""What a policy may name."""


def parse_policy(policy: str) -> tuple[Augmentation, ...]:
    """Return the augmentations of a policy such as ``"translate,cutout,color"``; ``"none"`` is empty.

    Raises:
        ValueError: for an unknown name.
    """
    names = [] if policy == "none" else [name.strip() for name in policy.split(",")]
    for name in names:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ValueError(f"unknown augmentation {name!r}; expected 'none' or a comma-separated list of {known}")
    return tuple(AUGMENTATIONS[name] for name in names)


def augment(x_BCHW: Tensor, policy: tuple[Augmentation, ...], rng: torch.Generator) -> Tensor:
    """Apply a policy in its order."""
    for step in policy:
        x_BCHW = step(x_BCHW, rng)
    return x_BCHW
