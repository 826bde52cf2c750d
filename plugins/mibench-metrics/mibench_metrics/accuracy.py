"""Utility: accuracy of the deployed classifier on private images that no training saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mibench.api import Evidence, Measurement, Metric, MetricContext
from mibench.api.metric import Need, Subject
from mibench_metrics.inference import label_ranks, logits_of
from mibench_metrics.measurements import average, required


@dataclass(frozen=True, kw_only=True)
class Accuracy(Metric):
    """Top-1 and top-5 accuracy on held-out private images: ``accuracy`` and ``accuracy@5``, fractions in [0, 1]."""

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    def measure(self, evidence: Evidence, ctx: MetricContext) -> list[Measurement]:
        """Return both accuracies.

        Raises:
            MibenchError: if there is no target or no held-out image.
        """
        target = required(evidence.target, "the target", "accuracy")
        labels_N = evidence.heldout.labels_N
        ranks_N = label_ranks(logits_of(target, evidence.heldout, ctx), labels_N)
        classes = evidence.num_classes
        return [
            average("accuracy", ranks_N < 1, labels_N, classes, higher_is_better=True),
            average("accuracy@5", ranks_N < 5, labels_N, classes, higher_is_better=True),
        ]
