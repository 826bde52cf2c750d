"""Leakage by an independent judge: does an embedder that never saw the private data recognise the person?

Shapes: N reconstructions, G gallery images, K classes, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mibench.api import (
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
)
from mibench_metrics.embeddings import centroids, embed
from mibench_metrics.inference import label_ranks
from mibench_metrics.measurements import average, required


@dataclass(frozen=True, kw_only=True)
class ReIdentification(Metric):
    """Match each reconstruction by cosine to one centroid per private class, made of its training images.

    ``reid@1`` and ``reid@5``: share of reconstructions whose own class is ranked first, or among the first five.
    ``reid_cosine``: mean cosine to the centroid of the own class, in [-1, 1].
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the three measurements.

        Details of ``reid@1``: ``ranks`` (0 is a hit); ``nearest``, the index in the gallery of the training image of
        the own class that is closest to each reconstruction, and ``nearest_cosine``.

        Raises:
            MibenchError: without an embedder or reconstructions, or if an attacked class has no gallery image.
        """
        embedder = required(evidence.embedder, "an embedder", "re-identification")
        labels_N, classes = evidence.labels_N, evidence.num_classes
        gallery_GD = embed(embedder, evidence.gallery, ctx)
        probes_ND = embed(embedder, evidence.reconstructions, ctx)
        own_labels_G = evidence.gallery.labels_N
        _check_gallery(own_labels_G, labels_N)
        similarity_NK = probes_ND @ centroids(gallery_GD, own_labels_G, classes).T
        # A class without training images cannot be confused with any; its centroid is zero.
        similarity_NK[:, torch.bincount(own_labels_G, minlength=classes) == 0] = -torch.inf
        ranks_N = label_ranks(similarity_NK, labels_N)
        cosine_N = similarity_NK.gather(1, labels_N.view(-1, 1)).squeeze(1)
        details = {"ranks": ranks_N.tolist(), **_nearest(probes_ND, labels_N, gallery_GD, own_labels_G)}
        mean = partial(average, labels_N=labels_N, num_classes=classes, higher_is_better=False, failed=evidence.failed)
        return [
            mean(_hits(1), ranks_N < 1, details=details),
            mean(_hits(5), ranks_N < 5),
            mean(Quantity(base="reid_cosine"), cosine_N, unit="cosine"),
        ]


def _hits(top: int) -> Quantity:
    return Quantity(role="re_identification", base="reid", k=top)


def _nearest(probes_ND: Tensor, labels_N: Tensor, gallery_GD: Tensor, own_labels_G: Tensor) -> dict[str, Any]:
    similarity_NG = probes_ND @ gallery_GD.T
    similarity_NG = similarity_NG.masked_fill(labels_N.view(-1, 1) != own_labels_G.view(1, -1), -torch.inf)
    best_N, index_N = similarity_NG.max(1)
    return {"nearest": index_N.tolist(), "nearest_cosine": [round(value, 4) for value in best_N.tolist()]}


def _check_gallery(own_labels_G: Tensor, labels_N: Tensor) -> None:
    absent = sorted(set(labels_N.tolist()) - set(own_labels_G.tolist()))
    if absent:
        raise MibenchError(f"re-identification: classes {absent} are attacked but have no private training image")
