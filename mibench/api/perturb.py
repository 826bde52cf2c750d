"""Shared parts of defenses that perturb inputs: target classes, targeted PGD, BatchNorm policy of inner loops.

Shapes: B images of a batch, C channels, H = W pixels, K classes. Every epsilon is a radius in [0, 1] units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

BatchNormPolicy = Literal["train", "eval", "frozen_stats"]
"""``train``: batch statistics, buffers updated; ``eval``: running statistics; ``frozen_stats``: batch statistics,
buffers untouched."""
Norm = Literal["linf", "l2"]
"""In which norm of the whole image a perturbation is bounded."""


def other_class(y_B: Tensor, num_classes: int, rng: torch.Generator) -> Tensor:
    """Draw a class y' != y for each label, exactly uniform over the other K - 1 classes.

    Raises:
        ValueError: if there is no other class.

    >>> other_class(torch.tensor([0, 1, 0]), 2, torch.Generator()).tolist()
    [1, 0, 1]
    """
    if num_classes < 2:
        raise ValueError("a wrong class needs at least 2 classes")
    shift_B = 1 + torch.randint(0, num_classes - 1, y_B.shape, generator=rng).to(y_B.device)
    return (y_B + shift_B) % num_classes


def pgd(
    model: Callable[[Tensor], Tensor],
    x_BCHW: Tensor,
    y_B: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    rng: torch.Generator,
    targeted: bool,
    random_start: bool = True,
    norm: Norm = "linf",
) -> Tensor:
    """Projected gradient descent on the cross-entropy, in the eps-ball and [0, 1].

    Args:
        model: maps images to logits (B, K).
        x_BCHW: images in [0, 1].
        y_B: the class to move towards (``targeted``) or away from.
        eps: radius in the norm, [0, 1] units.
        step_size: length of a step in the norm, [0, 1] units.
        steps: number of steps.
        rng: CPU generator of the random start.
        targeted: descend towards ``y_B`` instead of ascending.
        random_start: start uniformly in the ball.
        norm: ``"linf"`` takes signed steps, ``"l2"`` normalised ones, projected onto the ball before [0, 1].

    Returns:
        Perturbed images (B, C, H, W), detached.

    Source: Madry et al., ICLR 2018, section 2.1.

    >>> x, y = torch.full((1, 1, 1, 2), 0.5), torch.tensor([1])
    >>> brighter = pgd(
    ...     lambda x: x.flatten(1), x, y, eps=0.25, step_size=0.125, steps=4, rng=torch.Generator(), targeted=True
    ... )
    >>> brighter.tolist()  # towards class 1: its pixel up, the other down, both by eps
    [[[[0.25, 0.75]]]]
    """
    sign = -1.0 if targeted else 1.0
    start = _uniform_in_ball(x_BCHW, eps, rng, norm) if random_start else torch.zeros_like(x_BCHW)
    x_adv = _project(x_BCHW + start, x_BCHW, eps, norm)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        loss = cross_entropy(model(x_adv), y_B, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        direction = gradient.sign() if norm == "linf" else gradient / _length(gradient).clamp(min=1e-12)
        x_adv = _project(x_adv.detach() + sign * step_size * direction, x_BCHW, eps, norm)
    return x_adv.detach()


def _uniform_in_ball(x_BCHW: Tensor, eps: float, rng: torch.Generator, norm: Norm) -> Tensor:
    if norm == "linf":
        return (torch.rand(x_BCHW.shape, generator=rng) * 2 - 1).to(x_BCHW) * eps
    direction = torch.randn(x_BCHW.shape, generator=rng).to(x_BCHW)
    radius = torch.rand((len(x_BCHW), 1, 1, 1), generator=rng).to(x_BCHW) ** (1 / max(1, x_BCHW[0].numel()))
    return eps * radius * direction / _length(direction).clamp(min=1e-12)


def _project(moved_BCHW: Tensor, x_BCHW: Tensor, eps: float, norm: Norm) -> Tensor:
    """Cut moved images back to the ball around the originals and to [0, 1]."""
    if norm == "linf":
        low, high = (x_BCHW - eps).clamp(min=0), (x_BCHW + eps).clamp(max=1)
        return torch.clamp(moved_BCHW, low, high).detach()
    delta_BCHW = moved_BCHW - x_BCHW
    shrunk = delta_BCHW * (eps / _length(delta_BCHW).clamp(min=1e-12)).clamp(max=1)
    return (x_BCHW + shrunk).clamp(0, 1).detach()


def _length(delta_BCHW: Tensor) -> Tensor:
    lengths_B: Tensor = delta_BCHW.flatten(1).norm(dim=1)
    return lengths_B.view(-1, 1, 1, 1)


@contextmanager
def batchnorm_policy(model: nn.Module, policy: BatchNormPolicy) -> Iterator[None]:
    """Set how BatchNorm behaves inside a block (an attack's inner loop), and restore every module's state after it."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.training, norm.track_running_stats, norm.running_mean, norm.running_var) for norm in norms]
    for norm in norms:
        if policy == "eval":
            norm.eval()
        elif policy == "frozen_stats" and norm.training:
            # With no buffers attached, BatchNorm normalises by the batch and has nothing to update.
            norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    try:
        yield
    finally:
        for norm, (training, track, mean, var) in zip(norms, before, strict=True):
            norm.train(training)
            norm.track_running_stats, norm.running_mean, norm.running_var = track, mean, var


@contextmanager
def without_weight_gradients(model: nn.Module) -> Iterator[None]:
    """Switch off the gradients of parameters inside a block that differentiates with respect to the input only."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
