"""Losses of StyleGAN2 training.

Shapes: B images, C channels, H = W pixels, L style layers, W size of a style vector.
Sources: Goodfellow et al. 2014 (non-saturating loss); Mescheder et al., "Which Training Methods for GANs do actually
Converge?" (ICML 2018) for R1; Karras et al. 2020, sec. 3.1 (lazy regularisation) and 3.2 (path length).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(fake_B: Tensor) -> Tensor:
    """Return ``mean softplus(-D(fake))``."""
    return softplus(-fake_B).mean()


def discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """Return ``mean softplus(D(fake)) + mean softplus(-D(real))``."""
    return softplus(fake_B).mean() + softplus(-real_B).mean()


def r1_penalty(real_B: Tensor, x_BCHW: Tensor) -> Tensor:
    """Return the mean squared norm of the logits' gradient at real images, which must require gradients."""
    (slope_BCHW,) = torch.autograd.grad(real_B.sum(), x_BCHW, create_graph=True)
    return slope_BCHW.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(x_BCHW: Tensor, ws_BLW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """Return (B,) lengths of ``J^T y`` for image noise ``y`` of unit variance, differentiable again.

    Args:
        x_BCHW: images rendered from ``ws_BLW``, with a graph.
        ws_BLW: latents that require gradients.
        noise_BCHW: standard normal noise.
    """
    scaled_BCHW = noise_BCHW / math.sqrt(x_BCHW.shape[2] * x_BCHW.shape[3])
    (slope_BLW,) = torch.autograd.grad((x_BCHW * scaled_BCHW).sum(), ws_BLW, create_graph=True)
    return slope_BLW.square().sum(dim=2).mean(dim=1).sqrt()


def lazy_adam(lr: float, betas: tuple[float, float], interval: int) -> tuple[float, tuple[float, float]]:
    """Return learning rate and betas for a regulariser that takes its own step every ``interval`` steps.

    One more step per ``interval`` would learn ``(interval + 1) / interval`` times as fast; this undoes it.
    """
    if interval == 0:
        return lr, betas
    ratio = interval / (interval + 1)
    return lr * ratio, (betas[0] ** ratio, betas[1] ** ratio)
