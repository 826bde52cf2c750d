"""Normalising flows side by side: actnorm, shuffle and additive coupling per step, as pure functions of parameters.

A step maps x to ``permute(exp(s) * x + b)``, and then adds ``net(first half)`` to the second half. Parameters are
tensors with a leading dimension of 1, as a gradient search wants its variables. At the start all flows only permute.

Shapes: B samples, I flows, F steps of each, Z width of a sample, A = Z // 2 and Z - A its halves, H hidden units.
Sources: Dinh et al., "NICE", 2014 (additive coupling); Kingma and Dhariwal, "Glow", NeurIPS 2018 (actnorm).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def initial_parameters(flows: int, steps: int, width: int, hidden: int, rng: torch.Generator) -> list[Tensor]:
    """Return the parameters (1, I, F, ...): log-scale and shift of actnorm, then weights and shifts of the net.

    The net has one hidden layer of ReLUs; its last layer is zero, so that the flow begins as a permutation.
    """
    half, lead = width // 2, (1, flows, steps)
    first = torch.randn(*lead, half, hidden, generator=rng) * (2 / max(half, 1)) ** 0.5
    zeros = [torch.zeros(*lead, size) for size in (width, width, hidden, width - half)]
    return [zeros[0], zeros[1], first, zeros[2], torch.zeros(*lead, hidden, width - half), zeros[3]]


def permutations(steps: int, width: int, rng: torch.Generator) -> Tensor:
    """Draw the permutation of each step, (F, Z); all flows share them."""
    return torch.stack([torch.randperm(width, generator=rng) for _ in range(steps)])


def forward(x_BIZ: Tensor, parameters: Sequence[Tensor], order_FZ: Tensor) -> tuple[Tensor, Tensor]:
    """Map samples through the flows; return them (B, I, Z) and the log-determinants (I,), equal for all samples."""
    log_scale_IFZ, shift_IFZ, *net = (parameter[0] for parameter in parameters)
    for step, order_Z in enumerate(order_FZ):
        x_BIZ = (x_BIZ * log_scale_IFZ[:, step].exp() + shift_IFZ[:, step])[..., order_Z]
        kept, moved = x_BIZ.tensor_split([x_BIZ.shape[-1] // 2], dim=-1)
        x_BIZ = torch.cat([kept, moved + _net(kept, net, step)], dim=-1)
    return x_BIZ, log_scale_IFZ.sum(dim=(1, 2))


def inverse(x_BIZ: Tensor, parameters: Sequence[Tensor], order_FZ: Tensor) -> Tensor:
    """Invert :func:`forward`, exactly."""
    log_scale_IFZ, shift_IFZ, *net = (parameter[0] for parameter in parameters)
    for step in reversed(range(len(order_FZ))):
        kept, moved = x_BIZ.tensor_split([x_BIZ.shape[-1] // 2], dim=-1)
        x_BIZ = torch.cat([kept, moved - _net(kept, net, step)], dim=-1)[..., order_FZ[step].argsort()]
        x_BIZ = (x_BIZ - shift_IFZ[:, step]) * (-log_scale_IFZ[:, step]).exp()
    return x_BIZ


def kl_to_normal(base_BIZ: Tensor, x_BIZ: Tensor, log_determinant_I: Tensor) -> Tensor:
    """Estimate KL(q || N(0, I)) of each flow (I,) from samples ``x = f(base)`` with base from N(0, I)."""
    return 0.5 * (x_BIZ.square() - base_BIZ.square()).sum(-1).mean(0) - log_determinant_I


def _net(kept_BIA: Tensor, net: Sequence[Tensor], step: int) -> Tensor:
    in_IAH, hidden_IH, out_IHO, shift_IO = (parameter[:, step] for parameter in net)
    hidden_BIH = (torch.einsum("bia,iah->bih", kept_BIA, in_IAH) + hidden_IH).relu()
    return torch.einsum("bih,iho->bio", hidden_BIH, out_IHO) + shift_IO
