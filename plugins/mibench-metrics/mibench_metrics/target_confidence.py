"""Attack convergence: what the target itself thinks of the delivered images.

High here and low re-identification: adversarial-like images, or a masked gradient. Low here: the attack did not
optimise, so low leakage says little about privacy.

Shapes: N reconstructions, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mibench.api import Measurement, Metric, MetricContext, MetricInputs, Need, Quantity, Subject
from mibench_metrics.inference import label_ranks, logits_of
from mibench_metrics.measurements import average, required


@dataclass(frozen=True, kw_only=True)
class TargetConfidence(Metric):
    """``target_conf``: mean softmax confidence in the attacked class; ``target_acc@1``: top-1 share; both in [0, 1]."""

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return both measurements.

        Raises:
            MibenchError: if there is no target or no reconstruction.
        """
        target = required(evidence.target, "the target", "target-confidence")
        labels_N = evidence.labels_N
        logits_NK = logits_of(target, evidence.reconstructions, ctx)
        own_N = logits_NK.softmax(1).gather(1, labels_N.view(-1, 1)).squeeze(1).nan_to_num(0.0)
        hits_N = label_ranks(logits_NK, labels_N) < 1
        classes, failed = evidence.num_classes, evidence.failed
        return [
            average(Quantity(base="target_conf"), own_N, labels_N, classes, higher_is_better=False, failed=failed),
            average(Quantity(base="target_acc", k=1), hits_N, labels_N, classes, higher_is_better=False, failed=failed),
        ]
