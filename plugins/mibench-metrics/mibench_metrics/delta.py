"""The distance of papers: how near a reconstruction comes to a photograph that trained the target.

Shapes: N reconstructions, G training images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import ClassVar

import torch
from torch import Tensor

from mibench.api import (
    ImageSet,
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
from mibench_metrics.feature_distances import nearest_of_class
from mibench_metrics.inference import features_of
from mibench_metrics.measurements import average, required
from mibench_metrics.photographs import of_attacked, of_classes

Features = Callable[[ImageSet | Tensor], Tensor]
UNIT = "squared distance"


@dataclass(frozen=True, kw_only=True)
class DeltaFace(Metric):
    """Squared L2 distance of embeddings of length 1 to the nearest training image of the class, by the embedder.

    ``delta_face``: mean over reconstructions, in [0, 4]; higher is better for the defender. Papers measure it with the
    embedder ``facenet`` (preset ``papers``) and find .7 for strong attacks and 1.3 for failed ones; numbers of other
    embedders are on another scale. Gold (held-out photographs) and floor say what they mean. A class for which an
    attack delivered nothing counts as a photograph of somebody else.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the one measurement.

        Details: ``to_heldout``, the mean distance to the nearest held-out photograph of the class instead. If what
        leaks is the person and not the training images, the two differ as the numbers of photographs make them.

        Raises:
            MibenchError: without an embedder or reconstructions, or if an attacked class has no training image.
        """
        embedder = required(evidence.embedder, "an embedder", "delta-face")
        return [_delta(Quantity(base="delta_face"), partial(embed, embedder, ctx=ctx), evidence)]


@dataclass(frozen=True, kw_only=True)
class DeltaEval(Metric):
    """Squared L2 distance of an evaluator's features to the nearest training image of the class.

    ``delta_eval/<evaluator>``: mean over reconstructions; higher is better for the defender. Features are the inputs of
    the evaluator's last layer, as they come: their scale is that evaluator's own, so numbers of two evaluators cannot
    be compared. Papers call it delta_eval with Inception-v3 at 299 px, and KNN distance with a face network at 112 px.
    A class for which an attack delivered nothing counts as a photograph of somebody else.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"evaluators"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return one measurement for each evaluator; details as those of ``delta_face``.

        Raises:
            MibenchError: without evaluators or reconstructions, or if an attacked class has no training image.
        """
        judges = required(evidence.evaluators, "evaluators", "delta-eval")
        return [
            _delta(Quantity(base="delta_eval", evaluator=name), partial(features_of, judges[name], ctx=ctx), evidence)
            for name in sorted(judges)
        ]


def _delta(quantity: Quantity, features: Features, evidence: MetricInputs) -> Measurement:
    labels_N = evidence.labels_N
    gallery = of_attacked(evidence.gallery, evidence, quantity.base)
    heldout = of_classes(evidence.heldout, set(labels_N.tolist()))
    made_ND, trained_GD = features(evidence.reconstructions), features(gallery)
    nearest_N = nearest_of_class(made_ND, labels_N, trained_GD, gallery.labels_N)
    details = {}
    if set(labels_N.tolist()) <= set(heldout.labels_N.tolist()):
        other_N = nearest_of_class(made_ND, labels_N, features(heldout), heldout.labels_N)
        details = {"to_heldout": other_N.mean().item()}
    return average(
        quantity,
        nearest_N,
        labels_N,
        evidence.num_classes,
        higher_is_better=True,
        unit=UNIT,
        failed={label: _somebody_else(label, trained_GD, gallery.labels_N) for label in evidence.failed},
        details=details,
    )


def _somebody_else(label: int, trained_GD: Tensor, owners_G: Tensor) -> float:
    """Return the mean distance of the other classes' training images to the nearest of this class."""
    others = owners_G != label
    if not bool(others.any()):
        raise MibenchError("the attack delivered nothing for the only class that was attacked")
    as_own_G = torch.full((int(others.sum()),), label)
    return fmean(nearest_of_class(trained_GD[others], as_own_G, trained_GD, owners_G).tolist())
