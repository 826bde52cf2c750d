"""What natural images have in common, as penalties on pixels: smoothness, size, and a target's BatchNorm statistics.

Shapes: B images of a batch, C channels, S = side in pixels, F channels of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.modules.batchnorm import _BatchNorm


def total_variation(x_BCSS: Tensor) -> Tensor:
    """Return the sum over four directions of the L2 norm, over the whole batch, of differences between neighbours."""
    below, right = x_BCSS[..., 1:, :] - x_BCSS[..., :-1, :], x_BCSS[..., 1:] - x_BCSS[..., :-1]
    falling, rising = x_BCSS[..., 1:, 1:] - x_BCSS[..., :-1, :-1], x_BCSS[..., 1:, :-1] - x_BCSS[..., :-1, 1:]
    return torch.stack([vector_norm(part) for part in (below, right, falling, rising)]).sum()


def mean_norm(x_BCSS: Tensor) -> Tensor:
    """Return the mean over images of their L2 norm."""
    norm_B: Tensor = vector_norm(x_BCSS.flatten(1), dim=1)
    return norm_B.mean()


@contextmanager
def batchnorm_distance(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect, of each BatchNorm layer that a pass inside the block goes through, how far the batch is from training.

    Yields:
        A list that the passes fill in their order, with ``|mean - running mean|_2 + |var - running var|_2``. It stays
        empty for networks without BatchNorm statistics.
    """
    found: list[Tensor] = []

    def compare(layer: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        if layer.running_mean is None or layer.running_var is None:  # a layer that tracks nothing
            return
        values_FN = inputs[0].transpose(0, 1).flatten(1)
        mean_F, var_F = values_FN.mean(1), values_FN.var(1, correction=0)
        found.append(vector_norm(mean_F - layer.running_mean) + vector_norm(var_F - layer.running_var))

    hooks = [part.register_forward_pre_hook(compare) for part in network.modules() if isinstance(part, _BatchNorm)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
