import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_metrics.accuracy import Accuracy
from mibench_metrics.attack_accuracy import AttackAccuracy
from mibench_metrics.inference import label_ranks
from mibench_metrics.re_identification import ReIdentification
from mibench_metrics.target_confidence import TargetConfidence

from mibench.api import MibenchError
from mibench.api.params import canonical

METRICS = [Accuracy, AttackAccuracy, ReIdentification, TargetConfidence]


def measured(metric, evidence, world):
    return {found.name: found for found in metric().measure(evidence, world.ctx)}


def hits(logits, labels, top):
    order = np.argsort(-logits.double().numpy(), axis=1, kind="stable")[:, :top]
    return np.array([label in row for label, row in zip(labels.tolist(), order, strict=True)])


def test_ranks_order_ties_like_argmax_and_distrust_nan():
    scores = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [float("nan"), 0.0, 0.0]])
    assert label_ranks(scores, torch.tensor([0, 1, 0, 0])).tolist() == [0, 1, 2, 3]


def test_accuracy_is_a_hand_count(world):
    evidence = world.evidence
    found = measured(Accuracy, evidence, world)
    logits = evidence.target(evidence.heldout.all_images())
    for name, top in (("accuracy", 1), ("accuracy@5", 5)):
        own = hits(logits, evidence.heldout.labels_N, top)
        assert found[name].value == pytest.approx(own.mean())
        assert found[name].per_class == pytest.approx(own.reshape(10, -1).mean(1).tolist())
        assert found[name].n == 80
        assert found[name].higher_is_better


def test_accuracy_of_other_parts_is_a_hand_count_too(world):
    evidence = replace(world.evidence, validation=world.evidence.heldout.subset(torch.arange(0, 80, 3)))
    found = {one.name: one for one in Accuracy(parts=("train", "val")).measure(evidence, world.ctx)}
    plain = measured(Accuracy, world.evidence, world)
    assert {name: found[name] for name in plain} == plain
    for part, images in (("train", evidence.gallery), ("val", evidence.validation)):
        logits = evidence.target(images.all_images())
        for top in (1, 5):
            own = hits(logits, images.labels_N, top)
            assert found[f"accuracy@{top}/{part}"].value == pytest.approx(own.mean())
            assert found[f"accuracy@{top}/{part}"].n == len(images)
    assert canonical(Accuracy()) == {}
    with pytest.raises(MibenchError, match="accuracy needs val images"):
        Accuracy(parts=("val",)).measure(world.evidence, world.ctx)


def test_attack_accuracy_is_a_hand_count_per_evaluator_and_their_mean(world):
    evidence = world.evidence
    found = measured(AttackAccuracy, evidence, world)
    assert list(found) == [
        "attack_acc@1/a", "attack_acc@5/a", "attack_acc@1/b", "attack_acc@5/b", "attack_acc@1", "attack_acc@5"
    ]  # fmt: skip
    for name in "ab":
        logits = evidence.evaluators[name](evidence.images_NCHW)
        for top in (1, 5):
            own = hits(logits, evidence.labels_N, top)
            one = found[f"attack_acc@{top}/{name}"]
            assert one.value == pytest.approx(own.mean())
            assert one.details["classes_hit"] == pytest.approx(own.reshape(10, -1).any(1).mean())
        ranks = np.array(found[f"attack_acc@1/{name}"].details["ranks"])
        assert np.array_equal(ranks < 5, own)
    both = [found["attack_acc@1/a"], found["attack_acc@1/b"]]
    assert found["attack_acc@1"].value == pytest.approx(np.mean([one.value for one in both]))
    assert found["attack_acc@1"].per_class == pytest.approx(np.mean([one.per_class for one in both], axis=0).tolist())
    assert not found["attack_acc@1"].higher_is_better


def test_confidences_are_means_of_the_softmax_of_the_attacked_class(world):
    evidence = world.evidence
    metric = AttackAccuracy(confidences=True)
    found = {one.name: one for one in metric.measure(evidence, world.ctx)}
    plain = measured(AttackAccuracy, evidence, world)
    assert {name: found[name] for name in plain} == plain
    extra = [name for name in found if name not in plain]
    assert extra == ["attack_conf/a", "attack_conf_correct/a", "attack_conf/b", "attack_conf_correct/b"]
    labels = evidence.labels_N.numpy()
    for name in "ab":
        logits = evidence.evaluators[name](evidence.images_NCHW).double().numpy()
        power = np.exp(logits - logits.max(1, keepdims=True))
        own = (power / power.sum(1, keepdims=True))[np.arange(len(labels)), labels]
        right = logits.argmax(1) == labels
        assert 0 < right.sum() < len(right)
        assert found[f"attack_conf/{name}"].value == pytest.approx(own.mean(), abs=1e-6)
        assert found[f"attack_conf_correct/{name}"].value == pytest.approx(own[right].mean(), abs=1e-6)
        assert found[f"attack_conf_correct/{name}"].n == right.sum()
        one = found[f"attack_conf/{name}"].per_class[3]
        assert one == pytest.approx(own[labels == 3].mean(), abs=1e-6)


def test_confidences_count_failed_classes_as_0_and_need_a_hit_for_the_second_number(world):
    evidence = world.evidence
    labels = evidence.labels_N
    last = replace(evidence, images_NCHW=evidence.images_NCHW[labels < 8], labels_N=labels[labels < 8], failed=[8, 9])
    found = {one.name: one for one in AttackAccuracy(confidences=True).measure(last, world.ctx)}
    own = evidence.evaluators["a"](last.images_NCHW).double().softmax(1).gather(1, last.labels_N[:, None])
    assert found["attack_conf/a"].value == pytest.approx(own.mean().item() * 0.8, abs=1e-6)
    missed = (evidence.evaluators["a"](evidence.images_NCHW).argmax(1) != labels).nonzero()[:, 0]
    none = replace(evidence, images_NCHW=evidence.images_NCHW[missed], labels_N=labels[missed])
    found = {one.name: one for one in AttackAccuracy(confidences=True).measure(none, world.ctx)}
    assert "attack_conf/a" in found
    assert "attack_conf_correct/a" not in found


def test_confidences_leave_older_keys_alone():
    assert canonical(AttackAccuracy()) == {}
    assert canonical(AttackAccuracy(confidences=True)) == {"confidences": True}


def test_re_identification_equals_float64_numpy(world):
    evidence = world.evidence
    found = measured(ReIdentification, evidence, world)
    matrix = evidence.embedder.matrix.double().numpy()

    def embed(x):
        raw = (x.double().numpy().reshape(len(x), -1) - 0.5) @ matrix
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    gallery, probes = embed(evidence.gallery.all_images()), embed(evidence.images_NCHW)
    centre = np.stack([gallery[evidence.gallery.labels_N.numpy() == k].mean(0) for k in range(10)])
    cosine = probes @ (centre / np.linalg.norm(centre, axis=1, keepdims=True)).T
    labels = evidence.labels_N.numpy()
    own = cosine[np.arange(len(labels)), labels]
    ranks = (cosine > own[:, None]).sum(1)
    assert found["reid@1"].details["ranks"] == ranks.tolist()
    assert found["reid@1"].value == (ranks < 1).mean()
    assert found["reid@5"].value == (ranks < 5).mean()
    assert found["reid_cosine"].value == pytest.approx(own.mean(), abs=1e-6)
    same = labels[:, None] == evidence.gallery.labels_N.numpy()[None]
    assert found["reid@1"].details["nearest"] == np.where(same, probes @ gallery.T, -2).argmax(1).tolist()


def test_re_identification_of_training_images_is_perfect_and_of_an_absent_class_an_error(world):
    gallery = world.evidence.gallery
    exact = replace(world.evidence, images_NCHW=gallery.all_images(), labels_N=gallery.labels_N)
    found = measured(ReIdentification, exact, world)["reid@1"].details
    assert found["nearest"] == list(range(len(gallery)))
    assert found["nearest_cosine"] == [1.0] * len(gallery)
    partial = replace(world.evidence, gallery=gallery.subset((gallery.labels_N != 3).nonzero().flatten()))
    with pytest.raises(MibenchError, match=r"classes \[3\]"):
        measured(ReIdentification, partial, world)
    others = world.evidence.labels_N != 3
    spared = replace(partial, images_NCHW=world.evidence.images_NCHW[others], labels_N=world.evidence.labels_N[others])
    assert measured(ReIdentification, spared, world)["reid@1"].per_class[3] is None


def test_target_confidence_is_the_softmax_of_the_own_class(world):
    evidence = world.evidence
    found = measured(TargetConfidence, evidence, world)
    logits = evidence.target(evidence.images_NCHW).double()
    own = logits.softmax(1)[torch.arange(len(logits)), evidence.labels_N]
    assert found["target_conf"].value == pytest.approx(own.mean().item(), abs=1e-6)
    assert found["target_acc@1"].value == hits(logits, evidence.labels_N, 1).mean()


@pytest.mark.parametrize("metric", METRICS)
def test_order_of_images_does_not_matter_and_details_are_json(metric, world):
    evidence = world.evidence
    order = torch.randperm(len(evidence.labels_N), generator=torch.Generator().manual_seed(1))
    other = torch.randperm(len(evidence.heldout), generator=torch.Generator().manual_seed(2))
    shuffled = replace(
        evidence,
        images_NCHW=evidence.images_NCHW[order],
        labels_N=evidence.labels_N[order],
        heldout=evidence.heldout.subset(other),
        gallery=evidence.gallery.subset(other),
    )
    before, after = measured(metric, evidence, world), measured(metric, shuffled, world)
    for name, found in before.items():
        assert found.value == pytest.approx(after[name].value, abs=1e-9)
        assert found.per_class == pytest.approx(after[name].per_class, abs=1e-9)
        json.dumps(found.details, allow_nan=False)
        if "@1" in name:
            assert found.value <= before[name.replace("@1", "@5")].value if name != "target_acc@1" else True


@pytest.mark.parametrize("metric", METRICS)
def test_missing_evidence_is_named(metric, world):
    with pytest.raises(MibenchError, match="needs"):
        metric().measure(replace(world.evidence, target=None, evaluators={}, embedder=None), world.ctx)


@pytest.mark.parametrize("metric", METRICS[1:])
def test_no_reconstructions_is_an_error(metric, world):
    empty = replace(world.evidence, images_NCHW=torch.zeros(0, 1, 8, 8), labels_N=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(MibenchError, match="no images"):
        metric().measure(empty, world.ctx)
