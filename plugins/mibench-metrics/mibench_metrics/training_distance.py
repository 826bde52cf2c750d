"""How near a reconstruction is to images that the target was trained on, its own person's or anybody's.

Shapes: N reconstructions, B of a block, M training images, K classes, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
from mibench_metrics.embeddings import embed
from mibench_metrics.inference import logits_of
from mibench_metrics.measurements import average, required

BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class TrainingDistance(Metric):
    """Smallest squared distance of a reconstruction's embedding to training images', mean over reconstructions.

    ``train_l2_true``: to those of the attacked person. ``train_l2_assigned``: to those that the target itself puts into
    the attacked class, which are the images it was given for it where it fitted its labels, true or permuted.
    ``train_l2_any``: to all. Embeddings have length 1, so values go from 0 to 4. A class into which the target puts no
    training image has no ``assigned`` value; where that is every class, the column is left out. A failed class counts
    as far from everything as the mean pair of training images.

    Source: the distance is delta_face of plug-and-play attacks (Struppek et al., ICML 2022); measured to assigned
    images by Torp, Smith and Breuer, ICLR 2026.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"target", "embedder"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return ``train_l2_any``, ``train_l2_true`` and, if it is defined, ``train_l2_assigned``.

        Raises:
            MibenchError: without a target, an embedder, training images or reconstructions.
        """
        target = required(evidence.target, "the target", "training-distance")
        embedder = required(evidence.embedder, "an embedder", "training-distance")
        train, labels_N = required(evidence.gallery, "training images", "training-distance"), evidence.labels_N
        if not len(labels_N):
            raise MibenchError("training-distance: the attack delivered nothing to measure")
        known_MD = embed(embedder, train, ctx).double()
        made_ND = embed(embedder, evidence.images_NCHW, ctx).double()
        said_M = logits_of(target, train, ctx).argmax(1)
        far = (2 - 2 * known_MD.mean(0).square().sum()).clamp(min=0).item()
        found = {
            "any": nearest(made_ND, known_MD, None, labels_N),
            "true": nearest(made_ND, known_MD, train.labels_N, labels_N),
            "assigned": nearest(made_ND, known_MD, said_M, labels_N),
        }
        failed = dict.fromkeys(evidence.failed, far)
        return [
            average(
                Quantity(base=f"train_l2_{part}"),
                values_N[values_N.isfinite()],
                labels_N[values_N.isfinite()],
                evidence.num_classes,
                higher_is_better=True,
                unit="squared distance",
                failed=failed,
            )
            for part, values_N in found.items()
            if values_N.isfinite().any()
        ]


def nearest(made_ND: Tensor, known_MD: Tensor, class_M: Tensor | None, labels_N: Tensor) -> Tensor:
    """Return the smallest squared distance of each reconstruction to images of its class (N,); infinite without any.

    Args:
        made_ND: embeddings of reconstructions.
        known_MD: of training images.
        class_M: the class of each training image; ``None`` compares with all.
        labels_N: the class of each reconstruction.
    """
    rows = []
    for index_B in torch.arange(len(made_ND)).split(BLOCK):
        squared_BM = torch.cdist(made_ND[index_B], known_MD, compute_mode="donot_use_mm_for_euclid_dist").square()
        if class_M is not None:
            squared_BM = squared_BM.masked_fill(class_M != labels_N[index_B][:, None], torch.inf)
        rows.append(squared_BM.amin(1))
    return torch.cat(rows)
