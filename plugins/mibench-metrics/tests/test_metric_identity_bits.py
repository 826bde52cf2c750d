"""Identity bits against float64 numpy, a hand calculation, and what a blind judge must find."""

import json
from dataclasses import dataclass, replace
from math import log2

import numpy as np
import pytest
import torch
from mibench_metrics.identity_bits import IdentityBits
from mibench_metrics.re_identification import ReIdentification

from mibench.api import Embedder, IdentityGallery, MetricContext, MetricInputs, MibenchError, TensorImages

CONTEXT = MetricContext(seed=0, device=torch.device("cpu"))


def measured(evidence, metric=IdentityBits):
    return {one.name: one for one in metric().measure(evidence, CONTEXT)}


@dataclass(frozen=True, kw_only=True)
class Direction(Embedder):
    """Two grey pixels are the embedding, so that a picture is an angle between 0 and 90 degrees."""

    def embed(self, x_NCHW):
        return torch.nn.functional.normalize(x_NCHW.flatten(1), dim=1)


@dataclass(frozen=True, kw_only=True)
class Blind(Embedder):
    """Sees the same in every picture."""

    def embed(self, x_NCHW):
        return torch.ones(len(x_NCHW), 3)


def pictures(angles):
    turned = torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    return (255 * torch.stack([turned.cos(), turned.sin()], 1)).round().to(torch.uint8).view(-1, 1, 1, 2)


def people(angles, labels=None):
    owners = torch.arange(len(angles)) if labels is None else torch.tensor(labels)
    return TensorImages(pictures(angles), owners, int(owners.max()) + 1)


def evidence(angles, labels, *, others=(30, 60, 75), embedder=None, failed=(), private=None):
    own = people([0, 20, 45, 90]) if private is None else private
    return MetricInputs(
        num_classes=own.num_classes,
        heldout=own,
        gallery=own,
        images_NCHW=pictures(angles).float() / 255,
        labels_N=torch.tensor(labels),
        embedder=embedder or Direction(),
        failed=failed,
        identities=IdentityGallery(own, people(others) if others else None),
    )


def test_seven_people_on_a_quarter_of_a_circle():
    """At 5 degrees the person at 0 is first; at 50 that at 45; at 70 that at 90 is third behind 75 and 60; at 40
    that at 0 is sixth: 45, 30, 20 and 60, 75 before it."""
    found = measured(evidence([5, 50, 70, 40], [0, 2, 3, 0]))
    ranks = [1, 1, 3, 6]
    assert found["id_bits"].details["own_ranks"] == ranks
    assert found["id_reid@1"].details["ranks"] == [rank - 1 for rank in ranks]
    assert "own_tied" not in found["id_bits"].details
    assert found["id_bits"].value == pytest.approx(log2(7) - (log2(3) + log2(6)) / 4)
    assert found["id_bits"].per_class == pytest.approx([log2(7) - log2(6) / 2, None, log2(7), log2(7 / 3)])
    assert found["id_mrr"].value == pytest.approx((1 + 1 + 1 / 3 + 1 / 6) / 4)
    assert found["id_auc"].value == pytest.approx(1 - (0 + 0 + 2 + 5) / 6 / 4)
    assert (found["id_reid@1"].value, found["id_reid@5"].value) == (0.5, 0.75)
    cosines = np.cos(np.deg2rad([5, 5, 20, 40]))
    assert found["id_cosine"].value == pytest.approx(cosines.mean(), abs=5e-3)  # pixels have eight bits
    told = {name: found["id_bits"].details[name] for name in ("among", "private", "distractors")}
    assert told == {"among": 7, "private": 4, "distractors": 3}


def test_a_judge_that_sees_no_difference_finds_what_a_blind_guess_does():
    found = measured(evidence([5, 50, 70, 40], [0, 2, 3, 1], embedder=Blind()))
    details = found["id_bits"].details
    assert found["id_bits"].value == pytest.approx(details["chance"])
    assert (details["own_ranks"], details["own_tied"]) == ([4] * 4, [6] * 4)
    assert found["id_mrr"].value == pytest.approx(found["id_mrr"].details["chance"])
    assert found["id_auc"].value == pytest.approx(0.5)
    assert found["id_reid@1"].value == pytest.approx(1 / 7)
    assert found["id_reid@5"].value == pytest.approx(5 / 7)
    assert "ranks" not in found["id_reid@1"].details


def test_half_a_place_is_said_where_two_are_tied():
    """At 45 degrees, the person at 90 and that at 0 are equally far: places 1 and 2."""
    found = measured(evidence([45], [0], others=(), private=people([90, 0])))
    assert found["id_bits"].details["own_ranks"] == [1.5]
    assert found["id_bits"].details["own_tied"] == [1]
    assert found["id_bits"].value == pytest.approx((1 + 0) / 2)


def test_a_failed_class_tells_nothing_and_counts_as_a_blind_guess():
    whole = measured(evidence([5, 50, 70], [0, 2, 3]))
    found = measured(evidence([5, 50, 70], [0, 2, 3], failed=[1]))
    chance = found["id_bits"].details["chance"]
    assert chance == pytest.approx(log2(7) - sum(log2(rank) for rank in range(1, 8)) / 7)
    for name, blind in (("id_bits", chance), ("id_mrr", sum(1 / r for r in range(1, 8)) / 7), ("id_auc", 0.5)):
        assert found[name].per_class[1] == pytest.approx(blind)
        assert found[name].value == pytest.approx((3 * whole[name].value + blind) / 4)
    assert (found["id_reid@1"].per_class[1], found["id_reid@5"].per_class[1]) == (0, 0)
    others = np.cos(np.deg2rad(20 - np.array([0, 45, 90, 30, 60, 75]))).mean()
    assert found["id_cosine"].per_class[1] == pytest.approx(others, abs=5e-3)


def test_failing_is_never_better_for_the_attacker_than_guessing_and_never_worse():
    """An attack that fails on every class but one, against one that shows strangers at random: equal in the mean."""
    rng = np.random.default_rng(1)
    own = people(np.linspace(0, 90, 40).tolist())
    some = rng.permutation(40).tolist()
    guessing = measured(evidence([np.linspace(0, 90, 40)[k] for k in some], list(range(40)), private=own, others=()))
    failing = measured(evidence([45.0], [20], private=own, others=(), failed=[k for k in range(40) if k != 20]))
    for name, spread in (("id_bits", 0.25), ("id_auc", 0.05)):  # standard errors of 40 guesses
        assert abs(guessing[name].value - failing[name].value) < 3 * spread


def test_without_distractors_and_with_training_images_it_agrees_with_re_identification(world):
    inputs = replace(world.evidence, identities=IdentityGallery(world.evidence.gallery))
    found, plain = measured(inputs), measured(inputs, ReIdentification)
    assert found["id_reid@1"].details["ranks"] == plain["reid@1"].details["ranks"]
    for one, other in (("id_reid@1", "reid@1"), ("id_reid@5", "reid@5"), ("id_cosine", "reid_cosine")):
        assert found[one].value == pytest.approx(plain[other].value)
        assert found[one].per_class == pytest.approx(plain[other].per_class)


def test_it_equals_float64_numpy_with_several_pictures_of_some_people(world):
    strangers = world.patterns(9, 3, "strangers")
    strangers = strangers.subset(torch.tensor([k for k in range(27) if k not in (1, 2, 5)]))  # 0 has one, 1 has two
    inputs = replace(world.evidence, identities=IdentityGallery(world.evidence.heldout, strangers))
    matrix = inputs.embedder.matrix.double().numpy()

    def embed(x):
        raw = (x.double().numpy().reshape(len(x), -1) - 0.5) @ matrix
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    rows = []
    for images in (world.evidence.heldout, strangers):
        made = embed(images.all_images())
        for label in range(images.num_classes):
            mean = made[images.labels_N.numpy() == label].mean(0)
            rows.append(mean / np.linalg.norm(mean))
    cosine = embed(inputs.images_NCHW) @ np.stack(rows).T
    labels = inputs.labels_N.numpy()
    own = cosine[np.arange(len(labels)), labels]
    ranks = 1 + (cosine > own[:, None]).sum(1)
    found = measured(inputs)
    assert found["id_bits"].details["own_ranks"] == ranks.tolist()
    assert found["id_bits"].value == pytest.approx(np.mean(np.log2(19 / ranks)))
    assert found["id_auc"].value == pytest.approx(np.mean((cosine < own[:, None]).sum(1) / 18))
    assert found["id_bits"].n == 40
    json.dumps({name: one.details for name, one in found.items()}, allow_nan=False)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: replace(evidence([5], [0]), embedder=None), "identity-bits needs an embedder"),
        (lambda: replace(evidence([5], [0]), identities=None), "identity-bits needs an identity gallery"),
        (
            lambda: replace(evidence([5], [3]), identities=IdentityGallery(people([0, 20, 45]))),
            "each of the 4 private people in the gallery, which has 3",
        ),
        (lambda: evidence([5], [0], private=people([0]), others=()), "nobody else in the gallery"),
    ],
)
def test_a_gallery_in_which_nobody_can_be_found_is_refused(made, words):
    with pytest.raises(MibenchError, match=words):
        IdentityBits().measure(made(), CONTEXT)
