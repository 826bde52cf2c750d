"""Utility: accuracy of the deployed classifier on private images that no training saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from mibench.api import (
    Classifier,
    ImageSet,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    Need,
    OmitIfDefault,
    Quantity,
    Subject,
)
from mibench_metrics.inference import label_ranks, logits_of
from mibench_metrics.measurements import average, required


@dataclass(frozen=True, kw_only=True)
class Accuracy(Metric):
    """Top-1 and top-5 accuracy on held-out private images: ``accuracy`` and ``accuracy@5``, fractions in [0, 1].

    Attributes:
        parts: other private images to measure too, as ``accuracy@1/train`` and ``accuracy@5/train``, or ``/val``.
    """

    parts: Annotated[tuple[Literal["train", "val"], ...], OmitIfDefault()] = ()

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return both accuracies, then those of other parts.

        Raises:
            MibenchError: if there is no target, or no image to measure.
        """
        target = required(evidence.target, "the target", "accuracy")
        others = {"train": evidence.gallery, "val": evidence.validation}
        made = _of_one(target, evidence.heldout, "", evidence.num_classes, ctx)
        for part in self.parts:
            images = required(others[part], f"{part} images", "accuracy")
            made += _of_one(target, images, part, evidence.num_classes, ctx)
        return made


def _of_one(target: Classifier, images: ImageSet, part: str, classes: int, ctx: MetricContext) -> list[Measurement]:
    labels_N = images.labels_N
    ranks_N = label_ranks(logits_of(target, images, ctx), labels_N)
    made = []
    for top in (1, 5):
        quantity = Quantity(role="accuracy", base="accuracy", k=top, part=part)
        name = "" if top > 1 or part else "accuracy"  # as boards know it
        made.append(average(quantity, ranks_N < top, labels_N, classes, higher_is_better=True, name=name))
    return made
