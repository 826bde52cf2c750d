"""Classes for which an attack delivered nothing count as classes without a success, from the artifact to the number.

Four classes and images of 2 x 2 pixels, of which the brightest is the class that every judge names. The attack failed
on class 2: of its six images one of two hits class 1, both hit class 0 and none hits class 3.
"""

import json
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import mibench_metrics
import pytest
import torch
from mibench_metrics.attack_accuracy import AttackAccuracy
from mibench_metrics.measurements import average
from mibench_metrics.re_identification import ReIdentification
from mibench_metrics.target_confidence import TargetConfidence
from torch import nn

from mibench.api import (
    Classifier,
    Embedder,
    MetricContext,
    MetricInputs,
    ModelSpec,
    Quantity,
    TensorImages,
    freeze,
    hookimpl,
)
from mibench.nodes.data import DataInputs
from mibench.nodes.marks import Ref
from mibench.nodes.measure import MeasureInputs
from mibench.nodes.node import Node
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.protocol.schema import ImageShape, QueryBudget
from mibench.protocol.split import PrivateSplit
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry
from mibench.results.averages import average_of
from mibench.results.intervals import metric_value
from mibench.stages.files import save_tensors
from mibench.stages.run import run_node
from mibench.store.store import Store

CPU = torch.device("cpu")
CLASSES = 4
SEEN_AS = [0, 0, 1, 0, 0, 0]
LABELS = [0, 0, 1, 1, 3, 3]
PER_CLASS = [1.0, 0.5, 0.0, 0.0]
SHARE = 0.375  # (1 + 1/2 + 0 + 0) / 4; over the delivered images alone it would be 3/6


@pytest.mark.parametrize(("labels", "stated"), [([0, 0, 1, 3, 3], None), ([0, 0, 0, 1, 3, 3], [3, 1, 0, 2])])
def test_numbers_of_images_are_stated_where_means_need_them(labels, stated):
    values = torch.arange(len(labels)) < 3
    measured = average(Quantity(base="x"), values, torch.tensor(labels), CLASSES, higher_is_better=False)
    assert measured.details.get("images_per_class") == stated
    if stated:
        mean = sum(value * count for value, count in zip(measured.per_class, stated, strict=True) if count) / len(
            labels
        )
        assert measured.value == pytest.approx(mean)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 3, 3], [0, 0, 1, 1, 3], [0, 0, 0, 1, 1, 3]])
def test_the_mean_follows_from_the_classes_whatever_a_failed_class_counts_as(labels):
    values = torch.arange(len(labels)).double().square()
    blind = {2: 1.44}
    found = average(Quantity(base="x"), values, torch.tensor(labels), CLASSES, higher_is_better=False, failed=blind)
    assert found.value == pytest.approx((3 * values.mean().item() + 1.44) / 4)
    assert found.per_class[2] == 1.44
    row = {name: getattr(found, name) for name in ("value", "n", "unit", "higher_is_better", "per_class", "details")}
    made = average_of(metric_value(row, "leakage"))
    assert made.low - 1e-12 <= found.value <= made.high + 1e-12
    assert made.exact == ("images_per_class" in found.details)


def pixels(seen_as):
    """Return 8-bit images whose only bright pixel is the class."""
    return 255 * torch.eye(CLASSES, dtype=torch.uint8)[torch.tensor(seen_as)].view(-1, 1, 2, 2)


@dataclass(frozen=True, kw_only=True)
class PixelEye(Embedder):
    """Embeds an image as its four pixels."""

    def embed(self, x_NCHW):
        return x_NCHW.flatten(1)


def judge():
    """A classifier whose logits are 100 times the four pixels."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(CLASSES, CLASSES, bias=False))
    body[1].weight.data = 100 * torch.eye(CLASSES)
    return freeze(Classifier(body, head="1", stage_names=[], mean=[0.0], std=[1.0], channels=1))


def evidence(seen_as=SEEN_AS, labels=LABELS, failed=(2,)):
    gallery = TensorImages(pixels(range(CLASSES)), torch.arange(CLASSES), CLASSES)
    return MetricInputs(
        num_classes=CLASSES,
        heldout=gallery,
        gallery=gallery,
        images_NCHW=pixels(seen_as).float() / 255,
        labels_N=torch.tensor(labels),
        target=judge(),
        evaluators={"judge": judge()},
        embedder=PixelEye(),
        failed=failed,
    )


def measured(metric, made):
    return {found.name: found for found in metric().measure(made, MetricContext(0, CPU))}


COLUMNS = [
    (AttackAccuracy, "attack_acc@1/judge"),
    (AttackAccuracy, "attack_acc@1"),
    (ReIdentification, "reid@1"),
    (ReIdentification, "reid_cosine"),  # the cosine of two one-hot images is 1 or 0
    (TargetConfidence, "target_acc@1"),
    (TargetConfidence, "target_conf"),  # and so is the confidence, up to exp(-100)
]
every_column = pytest.mark.parametrize(("metric", "column"), COLUMNS, ids=[column for _, column in COLUMNS])


@every_column
def test_a_failed_class_is_a_class_without_a_success(metric, column):
    found = measured(metric, evidence())[column]
    assert found.value == pytest.approx(SHARE)
    assert found.per_class == pytest.approx(PER_CLASS)
    assert found.n == 6


@every_column
def test_a_class_that_nobody_attacked_is_left_out(metric, column):
    found = measured(metric, evidence(failed=()))[column]
    assert found.value == pytest.approx(3 / 6)
    assert found.per_class == pytest.approx([1.0, 0.5, None, 0.0])


@pytest.mark.parametrize(("metric", "column"), [(AttackAccuracy, "attack_acc@5"), (ReIdentification, "reid@5")])
def test_five_guesses_among_four_classes_do_not_find_who_is_not_there(metric, column):
    assert measured(metric, evidence())[column].value == pytest.approx(3 / 4)


def test_a_failed_class_weighs_as_many_images_as_the_others_have_on_average():
    """Three hits and a miss over two classes, and two classes that failed, two images each: 3 of 8."""
    uneven = evidence([0, 0, 0, 0], [0, 0, 0, 1], failed=(2, 3))
    assert measured(ReIdentification, uneven)["reid@1"].value == pytest.approx(3 / 8)


def test_a_failed_class_is_an_attacked_class_that_was_not_hit():
    assert measured(AttackAccuracy, evidence())["attack_acc@1/judge"].details["classes_hit"] == pytest.approx(2 / 4)


class Judges:
    """A plugin with the embedder."""

    @hookimpl
    def mibench_models(self):
        return [ModelSpec(name="pixel-eye", factory="pixel_eye:PixelEye", role="embedder", summary="for tests")]


def committed(store, inputs, tensors, ledger=None):
    """Put an artifact into a store and return what refers to it."""
    node = Node(inputs, inputs.stage)
    with store.commit(node.stage, node.key, node.payload, {}) as draft:
        for name, content in tensors.items():
            save_tensors(draft / name, content)
        if ledger is not None:
            (draft / "ledger.json").write_text(json.dumps(ledger))
    return node.ref


@pytest.mark.parametrize(("ledger", "share"), [({"failed": {"2": "nothing finite"}}, SHARE), ({}, 3 / 6)])
def test_the_stage_hands_the_failed_classes_of_the_ledger_to_the_metric(tmp_path, monkeypatch, ledger, share):
    monkeypatch.setitem(sys.modules, "pixel_eye", SimpleNamespace(PixelEye=PixelEye))
    store, split = Store(tmp_path), PrivateSplit(seed=0, train=1, val=1, test=1, identities=[0, 1, 2, 3])
    image = ImageShape(size=8, channels=1)
    people = torch.arange(CLASSES).repeat_interleave(3)
    images = {"classes": torch.tensor(CLASSES), "pixels": pixels(people.tolist()), "labels": people}
    stored = DataInputs(dataset=Entry("people", "1", {}), identities=[0, 1, 2, 3], image=image)
    private = committed(store, stored, {"images.safetensors": images})
    delivered = {"pixels": pixels(SEEN_AS), "labels": torch.tensor(LABELS), "scores": torch.zeros(6)}
    attacked = ReconstructInputs(
        target=Ref("t", ("target",)),
        prior=Ref("p", ("prior",)),
        attack=Entry("attack", "1", {}),
        seed=0,
        image=image,
        budget=QueryBudget(),
    )
    made = committed(store, attacked, {"evidence.safetensors": delivered}, ledger)
    inputs = MeasureInputs(
        private=private,
        evidence=made,
        metric=Entry("re-identification", "1", {}),
        embedder=Entry("pixel-eye", "1", {}),
        split=split,
        split_name="test",
    )
    node = Node(inputs, "re-identification")
    registry = Registry.from_modules(mibench_metrics, Judges())
    rows = run_node(node, store, registry, CPU, lambda *_: None).json("measurements.json")["measurements"]
    assert {row["name"]: row["value"] for row in rows}["reid@1"] == pytest.approx(share)
