"""Leakage as the field reports it: do classifiers trained on the private data recognise the reconstructions?

Evaluators learn from the data that the target learned from, so features that fool the target can fool them too
(Ho et al., arXiv 2505.03519). Read it beside re-identification.

Shapes: N reconstructions, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Annotated, ClassVar

from torch import Tensor

from mibench.api import Measurement, Metric, MetricContext, MetricInputs, Need, OmitIfDefault, Quantity, Subject
from mibench_metrics.inference import label_ranks, logits_of
from mibench_metrics.measurements import average, required

TOP = (1, 5)


@dataclass(frozen=True, kw_only=True)
class AttackAccuracy(Metric):
    """Share of reconstructions whose class an evaluator ranks first, or among the first five.

    ``attack_acc@1/<evaluator>`` and ``attack_acc@5/<evaluator>`` for each evaluator, and their means over evaluators,
    ``attack_acc@1`` and ``attack_acc@5``. Averages are over all delivered images (Struppek et al., ICML
    2022, section 4).

    Attributes:
        confidences: also measure the evaluators' softmax confidence in the attacked class: ``attack_conf/<evaluator>``,
            its mean over all images, and ``attack_conf_correct/<evaluator>``, its mean over those that the evaluator
            recognises, which is absent if there is none.
    """

    confidences: Annotated[bool, OmitIfDefault()] = False

    needs: ClassVar[frozenset[Need]] = frozenset({"evaluators"})
    subject: ClassVar[Subject] = "reconstructions"

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return two measurements per evaluator, in the order of their names, the two means, then confidences.

        Details of ``attack_acc@1/<evaluator>``: ``ranks``, one integer per image in the order of the evidence (0 is a
        hit), and ``classes_hit``, the share of attacked classes with at least one hit.

        Raises:
            MibenchError: if there are no evaluators or no reconstructions.
        """
        evaluators = required(evidence.evaluators, "evaluators", "attack-accuracy")
        found: list[Measurement] = []
        sure: list[Measurement] = []
        for name in sorted(evaluators):
            logits_NK = logits_of(evaluators[name], evidence.reconstructions, ctx)
            ranks_N = label_ranks(logits_NK, evidence.labels_N)
            found += _of_one(name, ranks_N, evidence)
            sure += _confidence(name, logits_NK, ranks_N < 1, evidence) if self.confidences else []
        return found + [_mean(top, found) for top in TOP] + sure


def _of_one(evaluator: str, ranks_N: Tensor, evidence: MetricInputs) -> list[Measurement]:
    made = []
    for top in TOP:
        hits_N = ranks_N < top
        measured = average(
            Quantity(role="attack_accuracy", base="attack_acc", k=top, evaluator=evaluator),
            hits_N,
            evidence.labels_N,
            evidence.num_classes,
            higher_is_better=False,
            failed=evidence.failed,
        )
        attacked = [share for share in measured.per_class if share is not None]
        details: dict[str, object] = {**measured.details, "classes_hit": fmean(share > 0 for share in attacked)}
        if top == 1:
            details["ranks"] = ranks_N.tolist()
        made.append(replace(measured, details=details))
    return made


def _confidence(evaluator: str, logits_NK: Tensor, hits_N: Tensor, evidence: MetricInputs) -> list[Measurement]:
    labels_N, classes = evidence.labels_N, evidence.num_classes
    own_N = logits_NK.softmax(1).gather(1, labels_N.view(-1, 1)).squeeze(1).nan_to_num(0.0)
    mean = partial(average, num_classes=classes, higher_is_better=False)
    made = [mean(Quantity(base="attack_conf", evaluator=evaluator), own_N, labels_N, failed=evidence.failed)]
    if hits_N.any():
        sure = Quantity(base="attack_conf_correct", evaluator=evaluator)
        made.append(mean(sure, own_N[hits_N], labels_N[hits_N]))
    return made


def _mean(top: int, found: list[Measurement]) -> Measurement:
    parts = [measured for measured in found if measured.k == top]
    columns = zip(*(measured.per_class for measured in parts), strict=True)
    per_class = [None if None in column else fmean(share or 0.0 for share in column) for column in columns]
    return replace(
        parts[0],
        name="",  # that of a mean over evaluators
        evaluator="",
        value=fmean(measured.value for measured in parts),
        per_class=per_class,
        details={
            **{name: held for name, held in parts[0].details.items() if name == "images_per_class"},
            "evaluators": {measured.evaluator: measured.value for measured in parts},
        },
    )
