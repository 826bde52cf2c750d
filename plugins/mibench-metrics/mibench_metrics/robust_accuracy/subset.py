"""A deterministic, stratified part of a set of images."""

from __future__ import annotations

import torch
from torch import Tensor

from mibench.api import generator


def stratified(labels_N: Tensor, size: int | None) -> Tensor:
    """Return ascending indices of ``size`` images with as many of each class as of any other, up to one.

    The choice depends on the labels alone, so that every target and every seed is attacked on the same images.

    Args:
        labels_N: class of each image.
        size: how many; ``None`` or more than there are means all.
    """
    if size is None or size >= len(labels_N):
        return torch.arange(len(labels_N))
    rng = generator("robust-accuracy", "subset")
    shuffled_N = torch.randperm(len(labels_N), generator=rng)
    seen: dict[int, int] = {}
    turns = []
    for index in shuffled_N.tolist():
        label = int(labels_N[index])
        turns.append((seen.get(label, 0), index))
        seen[label] = seen.get(label, 0) + 1
    order = sorted(range(len(turns)), key=lambda place: turns[place][0])
    return torch.tensor(sorted(turns[place][1] for place in order[:size]))
