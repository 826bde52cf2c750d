"""Weights and faces for Inception-ResNet-v1 that anybody can make again, by name and shape alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def random_state(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with the names and shapes of ``shapes``, whose numbers follow from each name."""
    return {name: _tensor(name, like) for name, like in shapes.items()}


def face(count: int) -> Tensor:
    """Return smooth RGB images in [0, 1] (count, 3, 160, 160)."""
    step = torch.arange(160, dtype=torch.float64)
    waves = [
        0.5 + 0.5 * torch.sin(step[:, None] / (5 + 3 * image + colour) + step[None] * (colour + 1) / 17)
        for image in range(count)
        for colour in range(3)
    ]
    return torch.stack(waves).view(count, 3, 160, 160).float()


def _tensor(name: str, like: Tensor) -> Tensor:
    if like.ndim == 0:
        return torch.ones_like(like)
    seed = sum((index + 1) * letter for index, letter in enumerate(name.encode()))
    # Sines of large multiples: the same numbers with every version of every library, unlike a generator's.
    index = torch.arange(like.numel(), dtype=torch.float64)
    noise = torch.sin(index * 12.9898 + seed * 78.233) * 43758.5453
    uniform = (noise - noise.floor()).view(like.shape)  # [0, 1)
    if name.endswith(("running_var", "bn.weight")):
        return (0.5 + uniform).float()
    if like.ndim == 1:
        return (0.2 * (uniform - 0.5)).float()
    fan_in = like[0].numel()
    return ((uniform - 0.5) * 2 * math.sqrt(6 / fan_in)).float()
