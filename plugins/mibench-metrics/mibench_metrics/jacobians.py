"""Products with the Jacobian of a network, image by image within a batch, and what follows from them.

Shapes: B images of a batch, C channels, H = W pixels, D outputs per image, P = C H W numbers of an image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mibench.api import generator

Function = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to outputs (B, D), each image apart."""


def forward_product(function: Function, x_BCHW: Tensor, v_BCHW: Tensor) -> Tensor:
    """Return J v (B, D): J' u is linear in u, so its derivative by u, applied to v, is J v."""
    with torch.enable_grad():
        x_BCHW = x_BCHW.detach().requires_grad_()
        made_BD = function(x_BCHW)
        u_BD = torch.zeros_like(made_BD, requires_grad=True)
        (pulled,) = torch.autograd.grad(made_BD, x_BCHW, u_BD, create_graph=True)
        (product,) = torch.autograd.grad(pulled, u_BD, v_BCHW)
    return product


def backward_product(function: Function, x_BCHW: Tensor, u_BD: Tensor) -> Tensor:
    """Return J' u (B, C, H, W), by reverse-mode differentiation."""
    with torch.enable_grad():
        x_BCHW = x_BCHW.detach().requires_grad_()
        (product,) = torch.autograd.grad(function(x_BCHW), x_BCHW, u_BD)
    return product


def column_squares(function: Function, x_BCHW: Tensor, probes: int | None = None) -> Tensor:
    """Return |J_k|^2 for every pixel and channel k, (B, C, H, W), float64.

    A column that is zero comes out as exactly 0 either way: no product reaches that pixel.

    Args:
        function: the network.
        x_BCHW: where.
        probes: random signs u to average (J' u)_k^2 over, whose expectation it is; ``None`` takes every output once,
            which is exact.
    """
    with torch.enable_grad():
        x_BCHW = x_BCHW.detach().requires_grad_()
        made_BD = function(x_BCHW)
        total = torch.zeros_like(x_BCHW, dtype=torch.float64, requires_grad=False)
        for weight_BD in _weights(made_BD, probes):
            (row,) = torch.autograd.grad(made_BD, x_BCHW, weight_BD, retain_graph=True)
            total += row.double().square()
    return total / (probes or 1)


def spectral_norms(function: Function, x_BCHW: Tensor, *, steps: int) -> Tensor:
    """Return the largest singular value of each image's Jacobian (B,), by power iteration; it converges from below.

    Args:
        function: the network.
        x_BCHW: where.
        steps: iterations, each one product forward and one backward.
    """
    start_1CHW = torch.randn(x_BCHW[:1].shape, generator=generator("jacobians", "power")).to(x_BCHW)
    v_BCHW = start_1CHW.expand_as(x_BCHW)  # the same for all images, so that their order changes nothing
    norm_B = torch.zeros(len(x_BCHW), dtype=torch.float64)
    for _ in range(steps):
        v_BCHW = v_BCHW / _lengths(v_BCHW)
        u_BD = forward_product(function, x_BCHW, v_BCHW)
        norm_B = u_BD.double().norm(dim=1).cpu()
        v_BCHW = backward_product(function, x_BCHW, u_BD)
    return norm_B


def _lengths(v_BCHW: Tensor) -> Tensor:
    length_B: Tensor = v_BCHW.flatten(1).norm(dim=1).clamp(min=torch.finfo(v_BCHW.dtype).tiny)
    return length_B.view(-1, 1, 1, 1)


def _weights(made_BD: Tensor, probes: int | None) -> list[Tensor]:
    if probes is None:
        rows = torch.eye(made_BD.shape[1], dtype=made_BD.dtype, device=made_BD.device)
        return [row_D.expand_as(made_BD) for row_D in rows]
    rng = generator("jacobians", "probes")
    signs_ND = 2 * torch.randint(0, 2, (probes, made_BD.shape[1]), generator=rng).to(made_BD) - 1
    return [signs_D.expand_as(made_BD) for signs_D in signs_ND]
