"""Distances to the nearest training image, against loops over numbers in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_metrics.delta import DeltaEval, DeltaFace
from mibench_metrics.feature_distances import nearest_of_class
from mibench_metrics.inference import features_of

from mibench.api import MibenchError, generator
from mibench.results.normalize import normalized_leakage


def by_hand(made, labels, trained, owners):
    """The smallest squared distance of each row to a row of its own class, number by number."""
    found = []
    for row, label in zip(made, labels, strict=True):
        own = [sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) for other in trained[owners == label]]
        found.append(min(own))
    return np.array(found)


def of_embedder(world, images):
    return world.evidence.embedder.embed(images).double().numpy()


def test_delta_face_is_the_mean_of_the_smallest_squared_distances(world):
    evidence = world.evidence
    (found,) = DeltaFace().measure(evidence, world.ctx)
    trained, owners = of_embedder(world, evidence.gallery.all_images()), evidence.gallery.labels_N.numpy()
    made = of_embedder(world, evidence.images_NCHW)
    each = by_hand(made, evidence.labels_N.numpy(), trained, owners)
    assert found.value == pytest.approx(each.mean(), rel=1e-6)
    assert found.per_class == pytest.approx([each[evidence.labels_N == k].mean() for k in range(10)], rel=1e-6)
    assert (found.name, found.unit, found.higher_is_better, found.n) == ("delta_face", "squared distance", True, 40)
    unseen, people = of_embedder(world, evidence.heldout.all_images()), evidence.heldout.labels_N.numpy()
    to_heldout = by_hand(made, evidence.labels_N.numpy(), unseen, people).mean()
    assert found.details["to_heldout"] == pytest.approx(to_heldout, rel=1e-6)


def test_delta_eval_measures_the_features_of_each_evaluator_as_they_come(world):
    evidence = world.evidence
    found = {row.name: row for row in DeltaEval().measure(evidence, world.ctx)}
    assert sorted(found) == ["delta_eval/a", "delta_eval/b"]
    for name, judge in evidence.evaluators.items():
        made, trained = (
            features_of(judge, images, world.ctx).numpy() for images in (evidence.images_NCHW, evidence.gallery)
        )
        with torch.no_grad():
            assert made == pytest.approx(judge.features(evidence.images_NCHW).numpy(), rel=1e-5)
        each = by_hand(made, evidence.labels_N.numpy(), trained, evidence.gallery.labels_N.numpy())
        assert found[f"delta_eval/{name}"].value == pytest.approx(each.mean())
        assert found[f"delta_eval/{name}"].quantity.evaluator == name


def test_gold_is_nearer_than_the_attack_and_the_attack_nearer_than_the_floor(world):
    """So leakage between floor and gold is a fraction, though less leakage is a larger number."""
    evidence = world.evidence
    noise = torch.rand(evidence.images_NCHW.shape, generator=generator("floor"))
    made = {
        "attack": evidence,
        "gold": replace(evidence, images_NCHW=evidence.heldout.all_images(), labels_N=evidence.heldout.labels_N),
        "floor": replace(evidence, images_NCHW=noise),
        "copies": replace(evidence, images_NCHW=evidence.gallery.all_images(), labels_N=evidence.gallery.labels_N),
    }
    found = {name: DeltaFace().measure(one, world.ctx)[0].value for name, one in made.items()}
    assert found["copies"] == pytest.approx(0, abs=1e-9)
    assert found["gold"] < found["attack"] < found["floor"]
    leakage = normalized_leakage(found["attack"], found["floor"], found["gold"], higher_is_better=True)
    assert 0 < leakage < 1


def test_a_failed_class_counts_as_a_photograph_of_somebody_else(world):
    evidence = world.evidence
    kept = evidence.labels_N != 3
    failed = replace(evidence, images_NCHW=evidence.images_NCHW[kept], labels_N=evidence.labels_N[kept], failed=(3,))
    (found,) = DeltaFace().measure(failed, world.ctx)
    trained, owners = of_embedder(world, evidence.gallery.all_images()), evidence.gallery.labels_N.numpy()
    others = trained[owners != 3]
    stands_for = by_hand(others, np.full(len(others), 3), trained, owners).mean()
    assert found.per_class[3] == pytest.approx(stands_for, rel=1e-6)
    (whole,) = DeltaFace().measure(evidence, world.ctx)
    assert found.value == pytest.approx((sum(whole.per_class) - whole.per_class[3] + stands_for) / 10, rel=1e-6)


def test_only_photographs_of_attacked_classes_are_looked_at(world):
    evidence, seen = world.evidence, []
    kept = evidence.labels_N < 2

    class Counting(type(evidence.embedder)):
        def embed(self, x_NCHW):
            seen.append(len(x_NCHW))
            return super().embed(x_NCHW)

    some = replace(
        evidence, images_NCHW=evidence.images_NCHW[kept], labels_N=evidence.labels_N[kept], embedder=Counting()
    )
    (found,) = DeltaFace().measure(some, world.ctx)
    assert sum(seen) == 8 + 2 * 8 + 2 * 8
    assert found.per_class[2:] == [None] * 8
    (whole,) = DeltaFace().measure(evidence, world.ctx)
    assert found.per_class[:2] == pytest.approx(whole.per_class[:2])


def test_what_is_missing_is_said(world):
    evidence = world.evidence
    with pytest.raises(MibenchError, match="delta-face needs an embedder"):
        DeltaFace().measure(replace(evidence, embedder=None), world.ctx)
    with pytest.raises(MibenchError, match="delta-eval needs evaluators"):
        DeltaEval().measure(replace(evidence, evaluators={}), world.ctx)
    others = evidence.gallery.subset((evidence.gallery.labels_N != 4).nonzero().flatten())
    with pytest.raises(MibenchError, match=r"delta_face: classes \[4\] are attacked but have no private training"):
        DeltaFace().measure(replace(evidence, gallery=others), world.ctx)


def test_small_distances_survive_large_features():
    far = 1e6 + torch.tensor([[0.0, 0.0], [1e-3, 0.0], [0.0, 2e-3]], dtype=torch.float64)
    found = nearest_of_class(far[:1], torch.tensor([0]), far[1:], torch.tensor([0, 0]))
    assert found.item() == pytest.approx(1e-6, rel=1e-4)
    assert nearest_of_class(far[:1], torch.tensor([5]), far[1:], torch.tensor([0, 0])).item() == torch.inf
