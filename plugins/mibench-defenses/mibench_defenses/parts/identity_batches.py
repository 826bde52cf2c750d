"""Batches of P people with K images each, so that within a batch there are images of one person to compare.

Shapes: N training images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mibench.api import UsageError


def identity_batches(labels_N: Tensor, batch: int, per_class: int, rng: torch.Generator) -> Sequence[Tensor]:
    """Return the indices of an epoch's batches: each has ``per_class`` images of ``batch / per_class`` classes.

    A class's images are shuffled and cut into groups of ``per_class``; a rest is left out, but a class with fewer
    images is drawn from with repetition. Every batch takes one group of different classes, chosen at random among
    those with groups left. The epoch ends when too few classes are left, so how many batches it has depends on the
    draw, and it misses some images.

    Source: the sampler of the BiDO authors' code (Peng et al., KDD 2022), common in person re-identification.

    Args:
        labels_N: class of each image.
        batch: images of a batch.
        per_class: K, images of a class in a batch.
        rng: CPU generator of all draws.

    Raises:
        UsageError: if a batch cannot be made of whole groups of different classes.
    """
    groups = {int(label): _groups(torch.where(labels_N == label)[0], per_class, rng) for label in labels_N.unique()}
    people = batch // per_class
    if batch % per_class or people > len(groups):
        raise UsageError(
            f"bido: per_class={per_class} needs batches of a multiple of {per_class} images and at most"
            f" {per_class} x {len(groups)} classes; the recipe's batch is {batch}. Change one of the two."
        )
    batches: list[Tensor] = []
    while len(left := [label for label, own in groups.items() if own]) >= people:
        picked = [left[index] for index in torch.randperm(len(left), generator=rng)[:people]]
        batches.append(torch.cat([groups[label].pop() for label in picked]))
    return batches


def _groups(own: Tensor, per_class: int, rng: torch.Generator) -> list[Tensor]:
    if len(own) < per_class:
        return [own[torch.randint(len(own), (per_class,), generator=rng)]]
    order = own[torch.randperm(len(own), generator=rng)]
    return [group for group in order.split(per_class) if len(group) == per_class]
