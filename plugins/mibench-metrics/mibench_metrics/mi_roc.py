"""Reconstructions as claims of identity: true positives at few false ones, by a judge that never saw the private data.

A mean similarity says little where few people leak much. As in membership inference (Carlini et al., 2022), what counts
is how many claims pass at a threshold that hardly any impostor passes.

Shapes: N reconstructions, R reference photographs, K classes, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mibench.api import (
    Embedder,
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
from mibench_metrics.measurements import average, required
from mibench_metrics.photographs import of_attacked
from mibench_metrics.verification import Impostors

RATES = {"mi_tpr_1pct": 0.01, "mi_tpr_0.1pct": 0.001}
"""False positive rate by column."""
CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, kw_only=True)
class MiRoc(Metric):
    """Let each reconstruction claim to be its person, and each photograph of somebody else too.

    A claim's score is the cosine to the centroid of the person's training images. Impostors are the held-out
    photographs of the other private people and all pictures of the gallery's distractors. The threshold is each
    person's own: scores of different people are not calibrated to each other.

    ``mi_tpr_1pct`` and ``mi_tpr_0.1pct``: share of reconstructions whose score exceeds the threshold that at most 1 %
    (0.1 %) of impostors exceed; absent where an attacked person has fewer than 100 (1 000) impostors, for then no
    threshold can be told to have that rate. ``mi_auc``: chance that a reconstruction scores more than an impostor; .5
    is blind. A class for which an attack delivered nothing counts as rejected, and in ``mi_auc`` as blind.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder", "identities"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the area, and the true positive rates that the number of impostors allows.

        Details of ``mi_auc``: ``impostors``, the fewest of any attacked person; ``rates``, false positive rates from
        .001 to .5 as far as they can be told, ``passed``, the share of reconstructions that passes at each, and
        ``photographs``, the share of the person's own held-out photographs that does.

        Raises:
            MibenchError: without an embedder or reconstructions; if an attacked class has no training image; or if
                there is no photograph of anybody else.
        """
        embedder = required(evidence.embedder, "an embedder", "mi-roc")
        labels_N, classes = evidence.labels_N, evidence.num_classes
        trained = of_attacked(evidence.gallery, evidence, "mi-roc")
        people_KD = centroids(embed(embedder, trained, ctx), trained.labels_N, classes)
        photographs_RD, owners_R = _photographs(embedder, evidence, ctx)
        scores_RK = photographs_RD @ people_KD.T
        impostors = Impostors.of(scores_RK, owners_R)
        if impostors.fewest(labels_N) == 0:
            raise MibenchError("mi-roc: there is no photograph of anybody else; it takes two people or more")
        own_N = (embed(embedder, evidence.reconstructions, ctx) * people_KD[labels_N]).sum(1)
        mean = partial(average, labels_N=labels_N, num_classes=classes, higher_is_better=False)
        blind = dict.fromkeys(evidence.failed, 0.5)
        curve = _curve(impostors, own_N, labels_N, scores_RK, owners_R)
        return [
            mean(Quantity(base="mi_auc"), impostors.areas(own_N, labels_N), failed=blind, details=curve),
            *(
                mean(Quantity(base=base), impostors.accepted(own_N, labels_N, rate), failed=evidence.failed)
                for base, rate in RATES.items()
                if impostors.resolves(rate, labels_N)
            ),
        ]


def _photographs(embedder: Embedder, evidence: MetricInputs, ctx: MetricContext) -> tuple[Tensor, Tensor]:
    """Return embeddings (R, D) and owners (R,) of all reference photographs; distractors are nobody of the K."""
    parts, owners = [embed(embedder, evidence.heldout, ctx)], [evidence.heldout.labels_N]
    strangers = evidence.identities.distractors if evidence.identities else None
    if strangers is not None:
        parts.append(embed(embedder, strangers, ctx))
        owners.append(torch.full_like(strangers.labels_N, -1))
    return torch.cat(parts), torch.cat(owners)


def _curve(
    impostors: Impostors, own_N: Tensor, labels_N: Tensor, scores_RK: Tensor, owners_R: Tensor
) -> dict[str, Any]:
    rates = [rate for rate in CURVE if impostors.resolves(rate, labels_N)]
    genuine_R = torch.isin(owners_R, labels_N)
    people_G = owners_R[genuine_R]
    genuine_G = scores_RK[genuine_R].gather(1, people_G.view(-1, 1)).squeeze(1)

    def share(scores: Tensor, people: Tensor) -> list[float]:
        return [impostors.accepted(scores, people, rate).double().mean().item() for rate in rates if len(people)]

    curve = {"rates": rates, "passed": share(own_N, labels_N), "photographs": share(genuine_G, people_G)}
    return {"impostors": impostors.fewest(labels_N), **curve}
