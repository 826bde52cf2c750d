"""Distances between generated images and a set of given ones, in a feature space, as PPDG-MI tunes generators with.

Shapes: K pairs, S sources (generated), T targets, F entries of a feature vector. Results are in the features' float.
Source: Peng et al., NeurIPS 2024 (PPDG-MI, its three variants); formulas of the parts at the functions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

_TINY = 1e-12


def pointwise(source_KF: Tensor, target_KF: Tensor) -> Tensor:
    """Return the squared distance of each source to its own target (K,); on LPIPS-like features a perceptual one."""
    return (source_KF - target_KF).square().sum(1)


def conditional_transport(source_SF: Tensor, target_TF: Tensor) -> Tensor:
    """Return the conditional-transport distance of two sets, a scalar (Zheng and Zhou, NeurIPS 2021).

    Mass goes between points in proportion to ``exp(<t, s>)`` and costs ``1 - cos(t, s)``: half the mean cost from each
    source to all targets, plus half the mean cost from each target to all sources.
    """
    similarity_TS = target_TF @ source_SF.T
    cost_TS = 1 - normalize(target_TF, dim=1) @ normalize(source_SF, dim=1).T
    forward_S = (similarity_TS.softmax(0) * cost_TS).sum(0)
    backward_T = (similarity_TS.softmax(1) * cost_TS).sum(1)
    return 0.5 * forward_S.mean() + 0.5 * backward_T.mean()


def mmd(source_SF: Tensor, target_TF: Tensor, *, kernels: int = 5, base: float = 2.0) -> Tensor:
    """Return the squared maximum mean discrepancy of two sets, biased, under a sum of Gaussian kernels, a scalar.

    ``k(a, b) = sum_i exp(-|a - b|^2 / (h base^i))`` for i below ``kernels``, where h is the mean squared distance of
    different points of the joint set, divided by ``base^(kernels // 2)`` and taken as a constant. If all points are
    equal, h would be 0; it is kept above, and the result is 0.

    Args:
        source_SF: generated points.
        target_TF: given points.
        kernels: number of Gaussians.
        base: ratio of their bandwidths.
    """
    d2_NN = _squared_distances(torch.cat([source_SF, target_TF]))
    n = len(d2_NN)
    width = d2_NN.detach().sum() / max(n * (n - 1), 1) / base ** (kernels // 2)
    widths = [width.clamp_min(_TINY) * base**i for i in range(kernels)]
    kernel_NN = torch.stack([torch.exp(-d2_NN / h) for h in widths]).sum(0)
    s = len(source_SF)
    return kernel_NN[:s, :s].mean() + kernel_NN[s:, s:].mean() - 2 * kernel_NN[:s, s:].mean()


def _squared_distances(x_NF: Tensor) -> Tensor:
    """Return |x_i - x_j|^2 (N, N) from a product, which needs no (N, N, F); centred first, against lost digits."""
    x_NF = x_NF - x_NF.detach().mean(0)
    size_N = x_NF.square().sum(1)
    d2_NN = size_N[:, None] + size_N[None, :] - 2 * x_NF @ x_NF.T
    return (d2_NN * (1 - torch.eye(len(x_NF)).to(d2_NN))).clamp_min(0)
