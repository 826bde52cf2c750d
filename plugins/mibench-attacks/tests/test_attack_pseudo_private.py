"""Pseudo-private images: what is collected of every class, and how it joins the public images."""

import pytest
import torch
from mibench_attacks.selection.pseudo_private import PseudoPrivateSelection, joined

from mibench.api import ClassFailed, ClassResult, Ledger, TensorImages, UsageError, generator, to_uint8
from mibench.testing import TinyWorld

WORLD = TinyWorld()


class Candidates:
    """Delivers given images of each class; class 2 fails."""

    def __init__(self):
        self.asked = []

    def prepare(self, target, prior, ctx):
        return "shared"

    def reconstruct(self, label, shared, target, prior, ctx):
        self.asked.append((label, shared))
        if label == 2:
            raise ClassFailed("nothing is finite")
        return ClassResult(label, self.images(label), torch.zeros(5), Ledger(), {})

    @staticmethod
    def images(label):
        own = WORLD.images().all_images()[label * 6 : label * 6 + 2]
        other = torch.rand(3, 3, 16, 16, generator=generator("candidates", label))
        return torch.cat([other, own])  # the last two show the person


def collected(selection, attack, ctx=None):
    ctx = ctx or WORLD.attack_context()
    return selection.collect(attack, WORLD.target(), WORLD.prior(), ctx, name="round 0", batch=3)


def test_the_best_of_each_class_are_kept_and_a_failed_class_adds_nothing():
    attack = Candidates()
    pixels, labels = collected(PseudoPrivateSelection(candidates=5, keep=2, draws=40), attack)
    assert labels.tolist() == [0, 0, 1, 1, 3, 3]
    assert pixels.dtype == torch.uint8
    assert attack.asked == [(label, "shared") for label in range(4)]
    for label in (0, 1, 3):
        own = to_uint8(Candidates.images(label)[3:])
        kept = pixels[labels == label]
        assert sum(any(torch.equal(one, other) for other in own) for one in kept) == 2, label


def test_every_class_is_made_once_and_found_again():
    kept, made = {}, []

    def cached(name, make):
        if name not in kept:
            made.append(name)
            kept[name] = make()
        return kept[name]

    ctx, attack = WORLD.attack_context(), Candidates()
    ctx.cached = cached
    selection = PseudoPrivateSelection(candidates=5, keep=2, draws=2)
    first, again = (collected(selection, attack, ctx) for _ in range(2))
    assert made == [f"round 0 class {label}" for label in range(4)]
    assert len(attack.asked) == 4
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_views_are_those_of_the_class_whatever_came_before():
    selection = PseudoPrivateSelection(candidates=5, keep=3, draws=2)
    pixels, labels = collected(selection, Candidates())
    kept = {"round 0 class 0": {"pixels": torch.zeros(0, 3, 16, 16, dtype=torch.uint8)}}
    ctx = WORLD.attack_context()
    ctx.cached = lambda name, make: kept.get(name) or make()
    later, later_labels = collected(selection, Candidates(), ctx)
    assert later_labels.tolist() == labels[labels > 0].tolist()
    assert torch.equal(later, pixels[labels > 0])


def test_labels_of_public_people_follow_those_of_the_classes():
    public = TensorImages(torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2), torch.tensor([1, 0, 1]), 2)
    both = joined(public, torch.full((2, 1, 2, 2), 99, dtype=torch.uint8), torch.tensor([3, 0]), 4)
    assert both.labels_N.tolist() == [5, 4, 5, 3, 0]
    assert both.num_classes == 6
    assert to_uint8(both.all_images())[:, 0, 0, 0].tolist() == [0, 4, 8, 99, 99]


def test_wrong_requests_are_explained():
    with pytest.raises(UsageError, match="'ppdg-vanilla': expected keep <= candidates, got 3 > 2"):
        PseudoPrivateSelection(candidates=2, keep=3)
    with pytest.raises(UsageError, match="needs public images"):
        joined(None, torch.zeros(0, 1, 2, 2, dtype=torch.uint8), torch.zeros(0, dtype=torch.long), 4)
