"""Which training images leak, one by one: does a reconstruction come nearer to them than unseen photographs do?

An attack may find what a person looks like without anything of the images that trained the target. Held-out photographs
show what that alone would give.

Shapes: N reconstructions, G training images, H held-out images of one class, K classes, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import comb
from typing import ClassVar

import torch
from torch import Tensor

from mibench.api import Measurement, Metric, MetricContext, MetricInputs, Need, Quantity, Subject
from mibench_metrics.embeddings import embed
from mibench_metrics.feature_distances import squared
from mibench_metrics.measurements import average, required
from mibench_metrics.photographs import of_attacked

TIE = 1e-6
"""Squared distances that are no further apart are equal: one image in two batches has embeddings that differ so."""


@dataclass(frozen=True, kw_only=True)
class TrainingLeakage(Metric):
    """Compare, for each training image, its nearest reconstruction with the nearest held-out photograph of the person.

    Distances are squared L2 distances of embeddings of length 1. ``train_leaked``: share of training images of attacked
    people to which some reconstruction comes nearer than all held-out photographs; equal distances count half.
    ``train_leaked_even``: the same if only as many of either are looked at, in expectation over which ones: many
    reconstructions have more chances than few photographs. Reconstructions that are as good as unseen photographs have
    .5 there, and so has gold by itself. More than .5 means that training images leak beyond the person. A class for
    which an attack delivered nothing leaks none.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the two measurements, of all training images of the attacked people.

        Details of ``train_leaked``: ``reconstructions`` and ``photographs``, how many there are of a person on average.

        Raises:
            MibenchError: without an embedder or reconstructions, or if an attacked class has no training or no held-out
                image.
        """
        embedder = required(evidence.embedder, "an embedder", "training-leakage")
        labels_N, people = evidence.labels_N, sorted(set(evidence.labels_N.tolist()))
        seen, unseen = (
            of_attacked(images, evidence, "training-leakage", what)
            for what, images in (("private training", evidence.gallery), ("held-out", evidence.heldout))
        )
        made_ND, seen_GD, unseen_HD = (embed(embedder, one, ctx) for one in (evidence.reconstructions, seen, unseen))
        shares, owners = [], []
        for person in people:
            seen_MD = seen_GD[seen.labels_N == person]
            near_MN = squared(seen_MD, made_ND[labels_N == person])
            near_MH = squared(seen_MD, unseen_HD[unseen.labels_N == person])
            shares.append(torch.stack([nearer(near_MN, near_MH), nearer_of_equal(near_MN, near_MH)]))
            owners.append(torch.full((len(seen_MD),), person))
        plain_G, even_G = torch.cat(shares, 1)
        mean = partial(
            average,
            labels_N=torch.cat(owners),
            num_classes=evidence.num_classes,
            higher_is_better=False,
            failed=evidence.failed,
        )
        photographs = torch.isin(unseen.labels_N, labels_N).sum().item()
        counts = {"reconstructions": len(labels_N) / len(people), "photographs": photographs / len(people)}
        return [
            mean(Quantity(base="train_leaked"), plain_G, details=counts),
            mean(Quantity(base="train_leaked_even"), even_G),
        ]


def nearer(one_MN: Tensor, other_MH: Tensor) -> Tensor:
    """Return 1 where the smallest distance of the first kind is smaller, 0 where it is larger, and .5 for ties (M,)."""
    apart_M = other_MH.amin(1) - one_MN.amin(1)
    return torch.where(apart_M.abs() <= TIE, 0.5, (apart_M > 0).double())


def nearer_of_equal(one_MN: Tensor, other_MH: Tensor) -> Tensor:
    """Return what :func:`nearer` gives in expectation if as many of either, drawn at random, are looked at (M,)."""
    if one_MN.shape[1] < other_MH.shape[1]:
        return 1 - nearer_of_equal(other_MH, one_MN)
    best_M1, drawn, total = other_MH.amin(1, keepdim=True), other_MH.shape[1], one_MN.shape[1]
    further_M = (one_MN > best_M1 + TIE).sum(1).tolist()
    not_nearer_M = (one_MN >= best_M1 - TIE).sum(1).tolist()
    found = [
        1 - (comb(beyond, drawn) + comb(least, drawn)) / (2 * comb(total, drawn))
        for beyond, least in zip(further_M, not_nearer_M, strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)
