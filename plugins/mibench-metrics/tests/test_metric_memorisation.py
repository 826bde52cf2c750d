"""Memorisation, distances to training images and the alignment of gradients, against loops and plain geometry."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_metrics.gradient_alignment import GradientAlignment, cosine, loss_gradient, tangent_basis
from mibench_metrics.memorisation import Memorisation
from mibench_metrics.training_distance import TrainingDistance
from torch.nn.functional import cross_entropy

from mibench.api import IdentityGallery, generator


def named(rows):
    return {row.name: row for row in rows}


def test_memorisation_is_counted_by_hand(world):
    evidence = world.evidence
    made = named(Memorisation().measure(evidence, world.ctx))
    shares = {}
    for name, images in (("train", evidence.gallery), ("heldout", evidence.heldout)):
        logits = evidence.target(images.all_images())
        shares[name] = (logits.argmax(1) == images.labels_N).double().mean().item()
        if name == "train":
            assert made["train_conf"].value == pytest.approx(logits.double().softmax(1).amax(1).mean().item(), rel=1e-5)
    assert made["train_acc"].value == pytest.approx(shares["train"])
    assert made["train_test_gap"].value == pytest.approx(shares["train"] - shares["heldout"])


def test_a_network_that_fitted_permuted_labels_is_told_by_confidence_alone(world):
    order = torch.randperm(80, generator=generator("permuted labels"))
    mixed = world.evidence.gallery.relabel(world.evidence.gallery.labels_N[order])
    evidence = replace(world.evidence, target=world.trained(10, mixed, steps=600))
    made = named(Memorisation().measure(evidence, world.ctx))
    assert made["train_acc"].value < 0.4
    assert made["train_conf"].value > 0.8


def test_distances_are_loops_over_pairs(world):
    evidence = world.evidence
    made = named(TrainingDistance().measure(evidence, world.ctx))
    train, embed = evidence.gallery, evidence.embedder.embed
    known, tries = embed(train.all_images()).double().numpy(), embed(evidence.images_NCHW).double().numpy()
    said = evidence.target(train.all_images()).argmax(1).numpy()
    squared = np.array([[((a - b) ** 2).sum() for b in known] for a in tries])
    for name, labels in (("any", None), ("true", train.labels_N.numpy()), ("assigned", said)):
        expected = [
            min(row[labels == own]) if labels is not None else row.min()
            for row, own in zip(squared, evidence.labels_N.numpy(), strict=True)
        ]
        assert made[f"train_l2_{name}"].value == pytest.approx(np.mean(expected), rel=1e-5)


def test_failed_classes_count_as_far_from_everything(world):
    kept = (world.evidence.labels_N != 0).nonzero().flatten()
    evidence = replace(
        world.evidence,
        images_NCHW=world.evidence.images_NCHW[kept],
        labels_N=world.evidence.labels_N[kept],
        failed=(0,),
    )
    made = named(TrainingDistance().measure(evidence, world.ctx))["train_l2_true"]
    assert made.per_class[0] > max(made.per_class[1:])


def test_a_gradient_in_the_tangent_space_is_aligned_and_one_across_is_not():
    rng = generator("tangent")
    plane = torch.randn(2, 30, generator=rng, dtype=torch.float64)
    known = torch.randn(40, 2, generator=rng, dtype=torch.float64) @ plane + 0.5
    basis = tangent_basis((known - known[0]).norm(dim=1), known, 10, 20)
    assert basis.shape == (2, 30)  # a plane has no third direction
    torch.testing.assert_close(basis @ basis.T, torch.eye(2, dtype=torch.float64))
    assert cosine(plane[0] - 2 * plane[1], basis) == pytest.approx(1)
    across = torch.linalg.svd(plane)[2][5]
    assert cosine(across, basis) == pytest.approx(0, abs=1e-9)
    assert cosine(torch.zeros(30, dtype=torch.float64), basis) == 0


def test_alignment_by_hand_and_its_chance(world):
    heldout = world.evidence.heldout
    evidence = replace(world.evidence, identities=IdentityGallery(world.evidence.gallery))
    found = GradientAlignment(max_images=None, neighbours=12, dimensions=5).measure(evidence, world.ctx)[0]
    known = world.evidence.gallery.all_images().flatten(1).double().numpy()
    x = heldout.all_images().requires_grad_()
    cross_entropy(evidence.target(x), heldout.labels_N, reduction="sum").backward()
    values = []
    for image, gradient in zip(x.detach().flatten(1).double().numpy(), x.grad.flatten(1).double().numpy(), strict=True):
        near = known[np.argsort(((known - image) ** 2).sum(1))[:12]]
        values_, vectors = np.linalg.eigh(np.cov(near.T))
        basis = vectors[:, np.argsort(values_)[-5:]]
        values.append(np.linalg.norm(basis.T @ gradient) / np.linalg.norm(gradient))
    assert found.value == pytest.approx(np.mean(values), rel=1e-4)
    assert found.details["chance"] == pytest.approx((5 / 64) ** 0.5)
    assert found.details["of"] == "private"
    assert torch.equal(loss_gradient(evidence.target, heldout.all_images(), heldout.labels_N, world.ctx), x.grad)
