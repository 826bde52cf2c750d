"""Parts of Trap-MID: blending, trapdoor labels, augmentation, accuracy.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from mibench.api import Classifier, ImageSet, Outputs, TrainContext, evaluating, generator, other_class


@dataclass(frozen=True, kw_only=True)
class Triggers:
    """How triggers are blended into images, and moved.

    Attributes:
        alpha: share of the trigger in the blend, (0, 1).
        step: length of a signed step, [0, 1] units.
        low: lowest value of a trigger, [0, 1] units; the highest is 1.
    """

    alpha: Annotated[float, Gt(0), Lt(1)] = 0.02
    step: Annotated[float, Gt(0)] = 0.01
    low: Annotated[float, Ge(0), Lt(1)] = 0.0

    def draw(self, shape: Sequence[int], rng: torch.Generator) -> Tensor:
        """Return triggers to begin with, uniform in their range."""
        return self.low + (1 - self.low) * torch.rand(*shape, generator=rng)


def blend(x_BCHW: Tensor, trigger_BCHW: Tensor, alpha: float) -> Tensor:
    """Return (1 - alpha) x + alpha T, in [0, 1] if both are."""
    return (1 - alpha) * x_BCHW + alpha * trigger_BCHW


def balanced_labels(ctx: TrainContext) -> Tensor:
    """Return the trapdoor labels of an epoch: shuffled, each class equally often, drawn from ``ctx.rng``."""
    rounds = math.ceil(ctx.steps_per_epoch * ctx.batch / ctx.num_classes)
    return torch.randperm(max(1, rounds) * ctx.num_classes, generator=ctx.rng) % ctx.num_classes


def augmented(x_BCHW: Tensor, rng: torch.Generator, *, on: bool = True) -> Tensor:
    """Crop (80 to 100 % of the area), mirror and rotate (up to 30 degrees), each with probability 1/2 per image.

    One affine resampling does all three; what lies outside the image is black.

    Args:
        x_BCHW: images in [0, 1].
        rng: CPU generator of all draws.
        on: false returns the images as they are.
    """
    if not on:
        return x_BCHW
    crop, mirror, turn, area, right, down, angle = torch.rand((7, len(x_BCHW)), generator=rng)
    side = torch.where(crop < 0.5, (0.8 + 0.2 * area).sqrt(), 1.0)
    sign = 1 - 2.0 * (mirror < 0.5)
    angle = torch.where(turn < 0.5, math.pi / 6 * (2 * angle - 1), 0.0)
    across = torch.stack([sign * side * angle.cos(), -sign * side * angle.sin(), (1 - side) * (2 * right - 1)], 1)
    along = torch.stack([side * angle.sin(), side * angle.cos(), (1 - side) * (2 * down - 1)], 1)
    theta_B23 = torch.stack([across, along], 1).to(x_BCHW)
    grid_BHW2 = affine_grid(theta_B23, list(x_BCHW.shape), align_corners=False)
    moved: Tensor = grid_sample(x_BCHW, grid_BHW2, align_corners=False)
    return moved


def part(outputs: Outputs, rows: slice) -> Outputs:
    """Return the outputs of some images of a batch, stages and auxiliary heads included."""
    aux = [(logits_BK[rows], weight) for logits_BK, weight in outputs.aux]
    stages = {name: activation[rows] for name, activation in outputs.stages.items()}
    return Outputs(outputs.logits[rows], outputs.features[rows], stages, aux)


def trapdoor_accuracy(model: Classifier, data: ImageSet, triggers_KCHW: Tensor, alpha: float) -> float:
    """Return the share of images that a random other class's trigger turns into that class, in evaluation mode."""
    hits, rng = 0, generator("trap-mid", "trapdoor accuracy")
    with evaluating(model), torch.no_grad():
        for indices_B in torch.arange(len(data)).split(256):
            c_B = other_class(data.labels_N[indices_B], len(triggers_KCHW), rng).to(triggers_KCHW.device)
            x_BCHW = blend(data.images(indices_B).to(triggers_KCHW), triggers_KCHW[c_B], alpha)
            hits += int((model(x_BCHW).argmax(1) == c_B).sum())
    return hits / len(data)
