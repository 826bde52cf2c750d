"""Random draws of the attacks, derived from the image they are for.

The package draws for a whole batch from torch's global generator, so that the result of an image depends on its
neighbours. Here the start of an image depends on the seed and on its own pixels: order, batch size and who survived
earlier do not matter.

Shapes: B images of a batch, C channels, H = W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from mibench.api import generator


def digests(x_BCHW: Tensor) -> list[str]:
    """Return a name for each image that depends on its pixels alone."""
    rows = x_BCHW.detach().cpu().contiguous().numpy()
    return [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rows]


def sign_noise(shape: Sequence[int], rng: torch.Generator) -> Tensor:
    """Draw -1 or 1 with equal probability."""
    return torch.randint(0, 2, tuple(shape), generator=rng).float() * 2 - 1


def starts_in_ball(x_BCHW: Tensor, names: Sequence[str], eps: float, seed: int, purpose: str) -> Tensor:
    """Draw APGD's start: uniform noise, rescaled so that its largest entry is exactly ``eps``, around each image."""
    rows = []
    for name in names:
        noise_CHW = torch.rand(x_BCHW.shape[1:], generator=generator(seed, purpose, name)) * 2 - 1
        rows.append(noise_CHW / noise_CHW.abs().max())
    return x_BCHW + eps * torch.stack(rows).to(x_BCHW)


class SquareDraws:
    """Stands in for the two methods with which the package's Square attack draws random numbers.

    The stripes an image starts with come from its name; positions and signs of the squares, which a batch shares, come
    from a stream that does not depend on the batch.
    """

    def __init__(self, names: Sequence[str], seed: int, device: torch.device) -> None:
        self._names = names
        self._seed = seed
        self._device = device
        self._shared = generator(seed, "square", "shared")

    def choice(self, shape: Sequence[int]) -> Tensor:
        """Draw signs: (B, C, 1, W) for the stripes of a batch, (C, 1, 1) for a square."""
        if len(shape) != 4:
            return sign_noise(shape, self._shared).to(self._device)
        rows = [sign_noise(shape[1:], generator(self._seed, "square", name)) for name in self._names]
        return torch.stack(rows).to(self._device)

    def integer(self, low: int = 0, high: int = 1, shape: Sequence[int] = (1,)) -> Tensor:
        """Draw integers in [low, high), or ``low`` where that range is empty."""
        return torch.randint(low, max(high, low + 1), tuple(shape), generator=self._shared).to(self._device)
