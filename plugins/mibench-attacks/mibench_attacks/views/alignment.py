"""AlignMI: average the gradient over perturbed copies, so that it points along the manifold of images.

Source: AlignMI, NeurIPS 2025. Gradients of classifiers are mostly off the manifold; perturbation-averaged (PAA) or
transformation-averaged (TAA) ones less so. Optimiser and loss of the host attack stay.

Shapes: B images of a batch, N images, C channels, S = side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench_attacks.views.transforms import RandomView

Align = Literal["none", "paa", "taa"]
TAA_VIEW = RandomView(scale=(0.8, 1.0), ratio=(0.9, 1.1), flip=0.5, rotate=5.0)
"""The transformations of TAA."""


class Perturbation(Protocol):
    """A drawn perturbation of N images, which can be cut to some of them."""

    def part(self, rows: slice) -> Perturbation:
        """Return the perturbation of some of the images."""

    def apply(self, x_NCSS: Tensor) -> Tensor:
        """Perturb, differentiably."""


@dataclass(frozen=True)
class Noise:
    """Added noise, the same for every image.

    Attributes:
        noise_CSS: what is added.
    """

    noise_CSS: Tensor

    def part(self, rows: slice) -> Noise:
        """Return itself: one noise serves all images."""
        return self

    def apply(self, x_NCSS: Tensor) -> Tensor:
        """Add the noise."""
        return x_NCSS + self.noise_CSS.to(x_NCSS)


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Averaging each gradient over perturbed copies of the image.

    Attributes:
        kind: average each gradient over copies (AlignMI): 'none', 'paa' with noise, 'taa' with crop, flip, rotation.
        n_aug: copies, if gradients are averaged; the paper uses 50 and finds 20 enough.
        noise: standard deviation of the noise of 'paa', in [0, 1] units.
    """

    kind: Align = "none"
    n_aug: Annotated[int, Ge(1)] = 50
    noise: Annotated[float, Gt(0)] = 0.05

    @property
    def copies(self) -> int:
        """How often the host's loss is computed per step."""
        return 1 if self.kind == "none" else self.n_aug

    def draw(self, n: int, channels: int, side: int, rng: torch.Generator) -> list[Perturbation]:
        """Draw the perturbations of one step for ``n`` images; nothing for ``"none"``."""
        if self.kind == "none":
            return []
        if self.kind == "taa":
            return [TAA_VIEW.draw(n, side, rng) for _ in range(self.n_aug)]
        return [Noise(self.noise * torch.randn(channels, side, side, generator=rng)) for _ in range(self.n_aug)]


def averaged(x_BCSS: Tensor, loss: Callable[[Tensor], Tensor], perturbations: Sequence[Perturbation]) -> Tensor:
    """Return the mean of ``loss(perturbed images)`` over the perturbations (B,), ``loss(images)`` if there are none.

    Each copy is differentiated before the next is made, so that many copies need the memory of one. The result has the
    right value and the right gradient with respect to the images, not to anything else, and no second derivative.

    Args:
        x_BCSS: images, with a graph.
        loss: maps images to a loss per image (B,), each independent of the others.
        perturbations: drawn for exactly these images.
    """
    if not perturbations:
        return loss(x_BCSS)
    leaf_BCSS = x_BCSS.detach().requires_grad_(True)
    total_B, slope_BCSS = torch.zeros(len(x_BCSS), device=x_BCSS.device), torch.zeros_like(leaf_BCSS)
    for perturbation in perturbations:
        loss_B = loss(perturbation.apply(leaf_BCSS))
        slope_BCSS += torch.autograd.grad(loss_B.sum(), leaf_BCSS)[0]
        total_B += loss_B.detach()
    along_B = ((x_BCSS - leaf_BCSS.detach()) * slope_BCSS).flatten(1).sum(1)
    return (total_B + along_B) / len(perturbations)
