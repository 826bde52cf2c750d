"""Training images that leak, against loops over all choices of as many images of either kind."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from mibench_metrics.training_leakage import TrainingLeakage, nearer, nearer_of_equal

from mibench.api import MibenchError, generator


def wins(one, other):
    return 0.5 if one == other else float(one < other)


def enumerated(one, other):
    """The share of pairs of subsets of equal size in which the nearest is of the first kind."""
    size = min(len(one), len(other))
    pairs = [(min(a), min(b)) for a in combinations(one, size) for b in combinations(other, size)]
    return sum(wins(a, b) for a, b in pairs) / len(pairs)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (6, 2), (2, 6), (5, 4), (1, 7)])
def test_as_many_of_either_is_the_mean_over_all_choices(sizes):
    # Whole numbers, so that there are ties.
    one, other = (
        torch.randint(0, 6, (8, size), generator=generator("leak", *sizes, which)).double()
        for which, size in enumerate(sizes)
    )
    expected = [enumerated(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    assert nearer_of_equal(one, other).tolist() == pytest.approx(expected)
    plain = [wins(min(a), min(b)) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    assert nearer(one, other).tolist() == plain


def test_good_as_photographs_is_a_half_however_many_there_are():
    gen = generator("exchangeable")
    one, other = (torch.rand(4000, size, generator=gen, dtype=torch.float64) for size in (12, 3))
    assert nearer_of_equal(one, other).mean().item() == pytest.approx(0.5, abs=0.02)
    assert nearer(one, other).mean().item() == pytest.approx(12 / 15, abs=0.02)


def test_columns_are_what_loops_count(world):
    evidence = world.evidence
    eye = evidence.embedder
    sets = (evidence.images_NCHW, evidence.gallery.all_images(), evidence.heldout.all_images())
    made, trained, unseen = (eye.embed(images).double() for images in sets)
    plain, even = [], []
    for row, label in zip(trained, evidence.gallery.labels_N.tolist(), strict=True):
        to_made, to_unseen = (
            [(row - one).square().sum().item() for one in ones[owners == label]]
            for ones, owners in ((made, evidence.labels_N), (unseen, evidence.heldout.labels_N))
        )
        plain.append(wins(min(to_made), min(to_unseen)))
        even.append(enumerated(to_made, to_unseen))
    first, second = TrainingLeakage().measure(evidence, world.ctx)
    assert (first.name, second.name, first.n) == ("train_leaked", "train_leaked_even", 80)
    assert first.value == pytest.approx(sum(plain) / 80)
    assert second.value == pytest.approx(sum(even) / 80)
    assert first.per_class == pytest.approx([sum(plain[8 * k : 8 * k + 8]) / 8 for k in range(10)])
    assert first.details == {"reconstructions": 4.0, "photographs": 8.0}


def both(world, **changes):
    return [row.value for row in TrainingLeakage().measure(replace(world.evidence, **changes), world.ctx)]


def test_copies_leak_all_gold_a_half_and_noise_less(world):
    evidence = world.evidence
    copies = {"images_NCHW": evidence.gallery.all_images(), "labels_N": evidence.gallery.labels_N}
    assert both(world, **copies) == [1.0, 1.0]
    gold = {"images_NCHW": evidence.heldout.all_images(), "labels_N": evidence.heldout.labels_N}
    assert both(world, **gold) == [0.5, 0.5]
    noise = torch.rand(evidence.images_NCHW.shape, generator=generator("noise"))
    assert max(both(world, images_NCHW=noise)) < 0.3


def test_a_failed_class_leaks_nothing_and_one_that_nobody_attacked_does_not_count(world):
    evidence = world.evidence
    kept = evidence.labels_N > 1
    part = replace(evidence, images_NCHW=evidence.images_NCHW[kept], labels_N=evidence.labels_N[kept], failed=(1,))
    found, _ = TrainingLeakage().measure(part, world.ctx)
    whole, _ = TrainingLeakage().measure(evidence, world.ctx)
    assert found.per_class == pytest.approx([None, 0.0, *whole.per_class[2:]])
    assert found.value == pytest.approx(sum(whole.per_class[2:]) / 9)


@pytest.mark.parametrize("part", ["gallery", "heldout"])
def test_a_class_without_photographs_is_named(world, part):
    images = getattr(world.evidence, part)
    without = images.subset((images.labels_N != 2).nonzero().flatten())
    with pytest.raises(MibenchError, match=r"classes \[2\] are attacked but have no (private training|held-out) image"):
        TrainingLeakage().measure(replace(world.evidence, **{part: without}), world.ctx)
