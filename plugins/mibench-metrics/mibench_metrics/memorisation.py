"""What a target has memorised of its training images: accuracy on them against accuracy on new ones.

Shapes: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mibench.api import (
    Classifier,
    ImageSet,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    Need,
    Quantity,
    Subject,
)
from mibench_metrics.inference import label_ranks, logits_of
from mibench_metrics.measurements import average, required


@dataclass(frozen=True, kw_only=True)
class Memorisation(Metric):
    """``train_acc``, ``train_test_gap`` and ``train_conf``, all on training images without augmentation.

    ``train_acc``: share of training images of which the target says the true class. ``train_test_gap``: that minus the
    accuracy on held-out images, in [-1, 1], by class. ``train_conf``: mean confidence in whatever the target says of a
    training image; near 1 a network has fitted labels, true or not. A network that was trained on permuted labels has
    a low ``train_acc`` and a high ``train_conf``: its own defense reports its accuracy on the labels it was given.
    """

    subject: ClassVar[Subject] = "target"
    needs: ClassVar[frozenset[Need]] = frozenset({"target"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the three columns.

        Raises:
            MibenchError: without a target or images.
        """
        target = required(evidence.target, "the target", "memorisation")
        train, heldout, classes = evidence.gallery, evidence.heldout, evidence.num_classes
        hits_N, sure_N = _of(target, train, ctx)
        new_N, _ = _of(target, heldout, ctx)
        known = average(Quantity(base="train_acc"), hits_N, train.labels_N, classes, higher_is_better=False)
        new = average(Quantity(base="test"), new_N, heldout.labels_N, classes, higher_is_better=True)
        pairs = zip(known.per_class, new.per_class, strict=True)
        return [
            known,
            Measurement(
                base="train_test_gap",
                value=known.value - new.value,
                unit="difference of fractions",
                higher_is_better=False,
                n=known.n + new.n,
                per_class=[None if a is None or b is None else a - b for a, b in pairs],
                details={"train": known.value, "heldout": new.value},
            ),
            average(Quantity(base="train_conf"), sure_N, train.labels_N, classes, higher_is_better=False),
        ]


def _of(target: Classifier, images: ImageSet, ctx: MetricContext) -> tuple[Tensor, Tensor]:
    """Return whether the target is right about each image (N,), and how sure it is of what it says."""
    logits_NK = logits_of(target, images, ctx)
    return label_ranks(logits_NK, images.labels_N) < 1, logits_NK.softmax(1).amax(1).nan_to_num(0.0)
