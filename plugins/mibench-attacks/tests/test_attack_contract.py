"""What holds for every attack of this distribution, run in the toy world."""

from dataclasses import replace

import pytest
import torch
from mibench_attacks.methods.baselines import PriorRandom, PriorTopConfidence
from mibench_attacks.methods.ppa import PlugAndPlay
from torch.testing import assert_close

from mibench.api import (
    Access,
    AccessError,
    Budget,
    BudgetError,
    MibenchError,
    build,
    check_images,
    replaced,
    run_attack,
)

PPA = build(
    PlugAndPlay,
    {"pool": 40, "candidates": 7, "final": 3, "steps": 4, "lr": 0.05, "draws": 5, "batch": 4, "cutoff": 1},
)
ATTACKS = {
    "ppa": PPA,
    "ppa-variant": replaced(
        PPA,
        {
            "loss": "max_margin",
            "views": 2,
            "per_sample": True,
            "single_w": False,
            "score_with": "single_w",
            "clip": True,
            "milestones": (2,),
        },
    ),
    "prior-topconf": build(PriorTopConfidence, {"pool": 40, "final": 3, "batch": 7, "cutoff": 1}),
    "prior-random": PriorRandom(final=3, batch=2, cutoff=1),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())


def run(attack, classes, view_of, prior, ctx):
    target = view_of(attack.access)
    return {result.label: result for result in run_attack(attack, classes, target, prior, ctx)}, target


@every_attack
@pytest.mark.parametrize("classes", [[7, 3, 5], [0]])
def test_exactly_the_asked_images_for_exactly_the_asked_classes(attack, classes, view_of, prior, ctx):
    results, _ = run(attack, classes, view_of, prior, ctx)
    assert list(results) == classes
    for result in results.values():
        assert check_images(result.images_NCHW, where="test").shape == (3, 3, 8, 8)
        assert not result.images_NCHW.requires_grad
        assert result.scores_N.shape == (3,)
        assert torch.isfinite(result.scores_N).all()
        assert result.scores_N.diff().max() <= 0


@every_attack
def test_neither_order_nor_resuming_changes_a_byte(attack, view_of, prior, ctx):
    full, _ = run(attack, range(8), view_of, prior, ctx)
    for classes in ([6, 3, 1], [3]):
        other, _ = run(attack, classes, view_of, prior, ctx)
        for label in classes:
            assert torch.equal(other[label].images_NCHW, full[label].images_NCHW)
            assert torch.equal(other[label].scores_N, full[label].scores_N)
            assert other[label].trace == full[label].trace
            assert other[label].spent == full[label].spent


@every_attack
def test_the_seed_matters_and_global_randomness_does_not(attack, view_of, prior, ctx):
    first, _ = run(attack, [2], view_of, prior, ctx)
    before = torch.random.get_rng_state()
    torch.rand(5)
    moved = torch.random.get_rng_state()
    again, _ = run(attack, [2], view_of, prior, ctx)
    assert torch.equal(torch.random.get_rng_state(), moved)
    torch.random.set_rng_state(before)
    other, _ = run(attack, [2], view_of, prior, replace(ctx, seed=4))
    assert torch.equal(first[2].images_NCHW, again[2].images_NCHW)
    assert not torch.equal(first[2].images_NCHW, other[2].images_NCHW)


@every_attack
def test_the_batch_size_is_an_execution_detail(attack, view_of, prior, ctx):
    whole, _ = run(replaced(attack, {"batch": 100}), [2], view_of, prior, ctx)
    for batch in (1, 3):
        pieces, _ = run(replaced(attack, {"batch": batch}), [2], view_of, prior, ctx)
        assert_close(pieces[2].images_NCHW, whole[2].images_NCHW, atol=1e-5, rtol=0)
        assert_close(pieces[2].scores_N, whole[2].scores_N, atol=1e-5, rtol=0)


@every_attack
def test_target_and_prior_stay_frozen_and_unchanged(attack, view_of, prior, classifier, ctx):
    before = [weights.detach().clone() for module in (prior, classifier) for weights in module.parameters()]
    run(attack, [1, 2], view_of, prior, ctx)
    after = [weights for module in (prior, classifier) for weights in module.parameters()]
    assert all(weights.grad is None and not weights.requires_grad for weights in after)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@every_attack
def test_the_ledger_equals_the_formula_and_the_images_that_passed(attack, view_of, prior, classifier, ctx):
    passed, rendered = [], []
    classifier.body.register_forward_hook(lambda _, inputs, __: passed.append(len(inputs[0])))
    render = prior.render
    prior.render = lambda latent, **more: rendered.append(len(latent)) or render(latent, **more)
    results, target = run(attack, [7, 3, 5], view_of, prior, ctx)
    assert vars(target.ledger) == dict(attack.cost(3))
    assert target.ledger.forward == sum(passed)
    assert target.ledger.render == sum(rendered)
    per_class = attack.cost(2)["render"] - attack.cost(1)["render"]
    assert [result.spent.render for result in results.values()] == [per_class] * 3
    assert {result.spent.backward for result in results.values()} == {attack.cost(1)["backward"]}


@pytest.mark.parametrize("access", [Access.LABELS, Access.SCORES])
def test_ppa_needs_white_box_access(access, view_of, prior, ctx):
    with pytest.raises(AccessError):
        list(run_attack(PPA, [0], view_of(access), prior, ctx))


def test_the_confident_baseline_needs_scores_and_the_random_one_nothing(view_of, prior, ctx):
    with pytest.raises(AccessError):
        list(run_attack(ATTACKS["prior-topconf"], [0], view_of(Access.LABELS), prior, ctx))
    assert PriorRandom.access is Access.LABELS
    assert dict(ATTACKS["prior-random"].cost(4)) == {"forward": 0, "backward": 0, "render": 12}


def test_a_budget_stops_the_attack(view_of, prior, ctx):
    with pytest.raises(BudgetError, match="gradients"):
        list(run_attack(PPA, [0], view_of(budget=Budget(backward=20)), prior, ctx))


def test_a_target_of_nans_fails_with_an_explanation(view_of, prior, classifier, ctx):
    classifier.head.bias.data.fill_(float("nan"))
    with pytest.raises(MibenchError, match="class 5, candidate pool"):
        list(run_attack(PPA, [5], view_of(), prior, ctx))


def test_the_trace_shows_a_falling_loss(view_of, prior, ctx):
    results, _ = run(replaced(PPA, {"steps": 15}), [4], view_of, prior, ctx)
    trace = results[4].trace
    assert len(trace["loss"]) == len(trace["gradient"]) == 15
    assert trace["loss"][-1] < trace["loss"][0]
    assert sum(trace["skipped"]) == 0


def test_optimising_beats_choosing_beats_guessing(view_of, prior, ctx):
    def confidence(attack):
        results, _ = run(attack, range(8), view_of, prior, ctx)
        judge = view_of()
        return sum(
            judge.logits(result.images_NCHW).softmax(1)[:, label].mean().item() for label, result in results.items()
        )

    ppa = confidence(replaced(PPA, {"steps": 30}))
    assert ppa > 1.1 * confidence(ATTACKS["prior-topconf"])
    assert confidence(ATTACKS["prior-topconf"]) > 1.5 * confidence(ATTACKS["prior-random"])


def test_both_pools_are_the_same_with_equal_settings(view_of, prior, ctx):
    ours = PPA.prepare(view_of(), prior, ctx)
    floor = ATTACKS["prior-topconf"].prepare(view_of(Access.SCORES), prior, ctx)
    assert_close(ours.latents_NLW, floor.latents_NLW, atol=1e-6, rtol=0)
    assert_close(ours.scores_NK, floor.scores_NK, atol=1e-5, rtol=0)
