"""Random labels: a permutation that keeps counts, repeats on resume, and is memorised."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.random_labels import RandomLabels, permuted

from mibench.api import Defense, UsageError, generator, params
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = RandomLabels


class TestContractOfAPermutationThatFollowsTheSeed(DefenseContract):
    component = RandomLabels
    settings: ClassVar = {"share": 0.5, "follow_seed": True}


def relabelled(seed: int = 0, **settings) -> torch.Tensor:
    ctx = WORLD.context(seed=seed)
    return RandomLabels(**settings).train_dataset(WORLD.images(), ctx).labels_N


def test_counts_and_images_stay():
    ctx, data = WORLD.context(), WORLD.images()
    mixed = RandomLabels().train_dataset(data, ctx)
    assert np.array_equal(np.bincount(mixed.labels_N.numpy()), np.bincount(data.labels_N.numpy()))
    assert torch.equal(mixed.all_images(), data.all_images())
    assert float(ctx.extras["moved"]) == pytest.approx(np.mean(mixed.labels_N.numpy() != data.labels_N.numpy()))


def test_a_full_permutation_moves_all_but_one_in_k():
    labels = torch.arange(10).repeat_interleave(1000)
    moved = (permuted(labels, 1.0, generator("t")) != labels).float().mean()
    assert float(moved) == pytest.approx(0.9, abs=0.015)  # standard deviation 0.003


def test_every_arrangement_is_equally_likely():
    labels, counts = torch.arange(3), {}
    for draw in range(1200):
        order = tuple(permuted(labels, 1.0, generator("t", draw)).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 200) < 65 for count in counts.values())  # 5 standard deviations


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_share_bounds_what_moves(share: float):
    labels = torch.arange(1000)
    moved = int((permuted(labels, share, generator("t")) != labels).sum())
    assert round(share * 1000) - 8 <= moved <= round(share * 1000)


def test_permutation_repeats_and_follows_the_seed_if_asked():
    assert torch.equal(relabelled(0), relabelled(1))
    assert not torch.equal(relabelled(), RandomLabels(seed=7).train_dataset(WORLD.images(), WORLD.context()).labels_N)
    assert torch.equal(relabelled(0, follow_seed=True), relabelled(0, follow_seed=True))
    assert not torch.equal(relabelled(0, follow_seed=True), relabelled(1, follow_seed=True))


def test_permutation_does_not_depend_on_what_was_drawn_before():
    ctx = WORLD.context()
    torch.rand(5, generator=ctx.rng)
    drawn_later = RandomLabels(follow_seed=True).train_dataset(WORLD.images(), ctx).labels_N
    assert torch.equal(drawn_later, relabelled(0, follow_seed=True))


def test_labels_are_memorised_and_people_are_not_learnt():
    trained = train_steps(RandomLabels(), WORLD, epochs=30)
    verdict = RandomLabels().self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["memorised"] == 1.0
    heldout = WORLD.images("heldout")

    def accuracy(model) -> float:
        return float((model(heldout.all_images()).argmax(1) == heldout.labels_N).float().mean())

    plain = train_steps(Defense(), WORLD, epochs=30)
    assert accuracy(plain.deployed) > 0.9
    assert accuracy(trained.deployed) < 0.6


def test_finish_judges_by_the_trained_labels_though_given_the_true_ones():
    trained = train_steps(RandomLabels(), WORLD, epochs=30)
    RandomLabels().finish(trained.model, WORLD.images(), trained.ctx)
    assert float(trained.ctx.extras["memorised"]) == 1.0


def test_without_a_moved_label_it_is_inactive():
    defense = RandomLabels(share=0.0)
    trained = train_steps(defense, WORLD)
    plain = train_steps(Defense(), WORLD)
    assert not defense.self_check(trained.model, trained.ctx).active
    assert all(torch.equal(value, plain.model.state_dict()[n]) for n, value in trained.model.state_dict().items())


def test_impossible_share_is_refused():
    with pytest.raises(UsageError, match="share"):
        params.build(RandomLabels, {"share": 1.5})
