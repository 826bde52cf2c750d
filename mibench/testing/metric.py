"""The contract of metrics.

Shapes: N images, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from mibench.api import params
from mibench.api.columns import Column
from mibench.api.metric import IdentityGallery, Measurement, Metric, MetricInputs
from mibench.api.rng import generator, seeded
from mibench.nodes.measure import MeasureFiles
from mibench.testing.announced import differences
from mibench.testing.checks import require
from mibench.testing.component import ComponentContract
from mibench.testing.tiny_stages import TESTED, tiny_gallery, tiny_stages


class MetricContract(ComponentContract):
    """Subclass, set ``component``, and run with pytest.

    Attributes:
        columns: what the metric's spec announces, to be compared with what is measured; empty if it announces nothing.
        tolerance: how far values may move when images are permuted (sums in another order).
        order_matters: images in another order give other numbers on purpose (a metric that draws a sample of them).
    """

    columns: ClassVar[Sequence[Column]] = ()
    tolerance: ClassVar[float] = 1e-5
    order_matters: ClassVar[bool] = False

    @cached_property
    def evidence(self) -> MetricInputs:
        """The tiny world's evidence, without what the metric did not ask for."""
        return self.granted(self.world.evidence())

    def granted(self, evidence: MetricInputs) -> MetricInputs:
        """Take away what the metric did not ask for in ``needs``."""
        metric: Metric = self.make()
        kept = replace(
            evidence,
            target=evidence.target if "target" in metric.needs else None,
            evaluators=evidence.evaluators if "evaluators" in metric.needs else {},
            embedder=evidence.embedder if "embedder" in metric.needs else None,
            identities=evidence.identities if "identities" in metric.needs else None,
        )
        if metric.subject == "target":
            none = torch.zeros(0, dtype=torch.int64)
            return replace(kept, images_NCHW=evidence.images_NCHW[none], labels_N=none)
        return kept

    def measure(self, evidence: MetricInputs | None = None) -> list[Measurement]:
        """Measure evidence (default: the tiny world's)."""
        metric: Metric = self.make()
        with seeded(0, "network"):  # as the stage does it
            return list(metric.measure(evidence or self.evidence, self.world.metric_context()))

    def test_measure_stage(self) -> None:
        """The stage ``measure`` writes the same numbers again, whatever the global seed."""
        metric: Metric = self.make()
        parts = tiny_gallery(self.world) if "identities" in metric.needs else {}
        with tiny_stages(self.world, {("metric", TESTED): self.component}, metrics=[self.entry()], **parts) as stages:
            artifact = stages.same_bytes(stages.cell.measures[TESTED], stop=None)
            found = MeasureFiles(artifact.path).measured()
        for row in found["measurements"]:
            count = len(row["per_class"])
            require(
                count == self.world.classes, f"{row['name']} has {count} per-class values, not {self.world.classes}"
            )

    def test_measurements_are_complete(self) -> None:
        """There is at least one measurement; names differ; values are finite; there is one value per class."""
        found = self.measure()
        names = [row.name for row in found]
        require(bool(found), "the metric measured nothing")
        require(len(set(names)) == len(names), f"names are not unique: {names}")
        for row in found:
            require(math.isfinite(row.value), f"{row.name} is {row.value}")
            require(row.unit != "fraction" or 0 <= row.value <= 1, f"{row.name} is a fraction of {row.value}")
            require(row.n > 0, f"{row.name} is based on {row.n} images")
            count = len(row.per_class)
            require(count == self.world.classes, f"{row.name} has {count} per-class values, not {self.world.classes}")
            json.dumps({"value": row.value, "per_class": list(row.per_class), "details": dict(row.details)})

    def test_columns_are_those_announced(self) -> None:
        """What the spec announces is measured and nothing else: unit, direction, range, meaning, number of images."""
        if not self.columns:
            raise SkipTest("the metric's spec announces no columns, so no board can check a record of it")
        settings, judges = params.canonical(self.make()), sorted(self.evidence.evaluators)
        known = {one.column.name: one for column in self.columns for one in column.expand(settings, judges)}
        found = {row.name: row for row in self.measure()}
        strange = sorted(set(found) - set(known))
        require(not strange, f"columns {strange} are measured but not announced; announced are {sorted(known)}")
        lacking = sorted(name for name in set(known) - set(found) if not known[name].column.optional)
        require(
            not lacking, f"columns {lacking} are announced but not measured; call them optional if that is all right"
        )
        for name, row in found.items():
            wrong = list(differences(row, known[name], self.evidence))
            require(not wrong, f"column {name}: {'; '.join(wrong)}")

    def test_same_seed_same_numbers(self) -> None:
        """Two measurements with one seed agree exactly, whatever the global seed."""
        evidence = self.evidence
        with seeded("contract", "global", 1):
            first = self.measure(evidence)
        with seeded("contract", "global", 2):
            again = self.measure(evidence)
        require(first == again, "two measurements of the same evidence differ")

    def test_image_order_does_not_matter(self) -> None:
        """Images in another order give the same numbers."""
        if self.order_matters:
            return
        first, again = self.measure(), self.measure(_permuted(self.evidence))
        require([row.name for row in first] == [row.name for row in again], "names depend on the order of the images")
        for one, two in zip(first, again, strict=True):
            pairs = [(one.value, two.value), *zip(one.per_class, two.per_class, strict=True)]
            apart = max(_distance(a, b) for a, b in pairs)
            require(apart <= self.tolerance, f"{one.name} moves by {apart:.2g} when the images are permuted")

    def test_classes_without_images_are_allowed(self) -> None:
        """If a class has no reconstruction, its value is ``None`` and the rest is measured."""
        if self.make().subject == "target":
            return
        evidence, missing = self.evidence, self.world.classes - 1
        kept = (evidence.labels_N != missing).nonzero().flatten()
        partial = replace(evidence, images_NCHW=evidence.images_NCHW[kept], labels_N=evidence.labels_N[kept])
        for row in self.measure(partial):
            value = row.per_class[missing]
            require(value is None, f"{row.name} has the value {value} for a class without images, expected None")

    def test_evidence_is_left_alone(self) -> None:
        """Measuring changes neither images nor labels."""
        evidence = self.evidence
        before = [tensor.clone() for tensor in _tensors(evidence)]
        self.measure(evidence)
        same = all(torch.equal(old, new) for old, new in zip(before, _tensors(evidence), strict=True))
        require(same, "the metric changed its evidence in place")


def _permuted(evidence: MetricInputs) -> MetricInputs:
    def order(n: int) -> Tensor:
        return torch.randperm(n, generator=generator("metric contract", n))

    mixed = order(len(evidence.labels_N))
    return replace(
        evidence,
        images_NCHW=evidence.images_NCHW[mixed],
        labels_N=evidence.labels_N[mixed],
        heldout=evidence.heldout.subset(order(len(evidence.heldout))),
        gallery=evidence.gallery.subset(order(len(evidence.gallery))),
        identities=_mixed(evidence.identities, order) if evidence.identities else None,
    )


def _mixed(people: IdentityGallery, order: Callable[[int], Tensor]) -> IdentityGallery:
    strangers = people.distractors
    return replace(
        people,
        private=people.private.subset(order(len(people.private))),
        distractors=strangers.subset(order(len(strangers))) if strangers else None,
    )


def _tensors(evidence: MetricInputs) -> list[Tensor]:
    people = evidence.identities
    sets = [evidence.heldout, evidence.gallery, people and people.private, people and people.distractors]
    known = [people.truth, people.distractor_truth] if people else []
    return [
        evidence.images_NCHW,
        evidence.labels_N,
        *(tensor for images in sets if images for tensor in (images.all_images(), images.labels_N)),
        *(truth.values_KD for truth in known if truth),
    ]


def _distance(first: float | None, second: float | None) -> float:
    if first is None or second is None:
        return 0.0 if first is second else math.inf
    return abs(first - second)
