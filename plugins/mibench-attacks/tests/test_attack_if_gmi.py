"""IF-GMI: its constraint, the stages, the choice between them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.latents.intermediate import IntermediateState
from mibench_attacks.losses.constraints import l1_ball, within_l1_balls
from mibench_attacks.methods.if_gmi import IntermediateFeatures
from mibench_attacks.methods.ppa import PlugAndPlay
from mibench_models.priors.stylegan2.component import StyleGan2Prior

from mibench.api import Classifier, TargetView, UsageError, freeze, generator, replaced, run_attack, seeded
from mibench.api.params import build
from mibench.testing import AttackContract, TinyWorld

SMALL = {
    "pool": 16,
    "candidates": 5,
    "final": 3,
    "steps": 2,
    "lr": 0.05,
    "feature_steps": (2, 2),
    "draws": 3,
    "batch": 4,
    "cutoff": 3,
}
ATTACK = build(IntermediateFeatures, SMALL)


def style_prior(channels=3, size=16):
    model = StyleGan2Prior(z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=16)
    with seeded("tiny stylegan"):
        prior = model.build(channels=channels, size=size)
        with torch.no_grad():
            for name, weight in prior.named_parameters():
                if name.endswith(("noise_strength", "bias")):
                    weight.add_(0.1 * torch.randn(weight.shape))
    return freeze(prior)


def attack(made, labels=(1,), *, world=None, judge=None, **more):
    world = world or TinyWorld()
    target, ctx = world.target(), world.attack_context()
    ctx.evaluator = judge
    prior = more.get("prior") or style_prior(world.channels, world.size)
    return {result.label: result for result in run_attack(made, labels, target, prior, ctx)}, target


class TestContract(AttackContract):
    component = IntermediateFeatures
    settings = SMALL
    classes = (0, 2)

    def prior(self):
        return style_prior()


class TestContractOnGrey(AttackContract):
    component = IntermediateFeatures
    settings = SMALL | {"choose": "last", "align": "taa", "n_aug": 2, "feature_steps": (2,)}
    classes = (0, 2)
    world = TinyWorld(channels=1)

    def prior(self):
        return style_prior(channels=1)


def test_l1_ball_gives_the_vectors_of_the_reference():
    v = torch.tensor([[3.0, -1.0, 0.5]])
    assert torch.equal(l1_ball(v, 2.0), torch.tensor([[2.0, 0.0, 0.0]]))
    assert torch.equal(l1_ball(v, 10.0), v)
    assert torch.equal(l1_ball(v, 0.0), torch.zeros(1, 3))
    assert torch.equal(l1_ball(torch.zeros(2, 3), 1.0), torch.zeros(2, 3))


@pytest.mark.parametrize("radius", [0.3, 2.0, 7.5])
def test_l1_ball_is_the_closest_point_of_the_ball(radius):
    """The threshold solves sum(max(|v| - t, 0)) = radius; found here by bisection in float64."""
    v = torch.randn(20, 9, generator=generator("ball"))
    got = l1_ball(v, radius).double().numpy()
    for row, expected in zip(got, v.double().numpy(), strict=True):
        low, high = 0.0, np.abs(expected).max()
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if np.maximum(np.abs(expected) - middle, 0).sum() > radius else (low, middle)
        threshold = low if np.abs(expected).sum() > radius else 0.0
        np.testing.assert_allclose(row, np.sign(expected) * np.maximum(np.abs(expected) - threshold, 0), atol=1e-5)


def test_balls_are_around_the_start_and_per_candidate():
    start = [torch.ones(3, 1, 4), torch.zeros(3, 2, 2, 2)]
    project = within_l1_balls(start, 1.0)
    moved = [start[0].clone(), start[1].clone()]
    moved[0][0] += 5
    moved[1][1] += 0.1  # 0.8 in all: inside
    project(moved)
    assert (moved[0][0] - 1).abs().sum().item() == pytest.approx(1.0)
    assert torch.equal(moved[0][1:], start[0][1:])
    assert torch.equal(moved[1][1], torch.full((2, 2, 2), 0.1))


@pytest.mark.parametrize("size", [16, 32])
def test_entering_a_block_changes_nothing(size):
    """Pitfall 9: the released code drops the RGB image of the earlier blocks, and with it some of the picture."""
    world = TinyWorld(size=size)
    prior, target = style_prior(size=size), world.target()
    made = replaced(ATTACK, {"steps": 0, "feature_steps": (0,) * (prior.blocks - 1), "choose": "last"})
    results, _ = attack(made, world=world, prior=prior)
    whole, _ = attack(replaced(made, {"feature_steps": ()}), world=world, prior=prior)
    assert torch.allclose(results[1].images_NCHW, whole[1].images_NCHW, atol=1e-4)
    at = IntermediateState(prior.to_latent(prior.sample(5, generator("w")))[:, :1])
    render = Renderer(prior, target, size)
    full = at.render(render, clamp=False)
    for block in range(1, prior.blocks):
        at = at.through(prior, batch=2)
        assert at.block == block
        assert torch.allclose(at.render(render, clamp=False), full, atol=1e-4)
        dropped = replace(at, carry=at.carry._replace(image=None))
        assert not torch.allclose(dropped.render(render, clamp=False), full, atol=1e-2)


def test_without_later_stages_it_is_ppa():
    settings = {name: value for name, value in SMALL.items() if name != "feature_steps"}
    made, ppa = build(IntermediateFeatures, SMALL | {"feature_steps": ()}), build(PlugAndPlay, settings)
    ours, _ = attack(made)
    theirs, _ = attack(ppa)
    assert torch.equal(ours[1].images_NCHW, theirs[1].images_NCHW)
    assert torch.equal(ours[1].scores_N, theirs[1].scores_N)
    assert ours[1].trace["loss"] == theirs[1].trace["loss"]


def test_images_are_those_after_the_last_update():
    one, _ = attack(replaced(ATTACK, {"steps": 1, "feature_steps": (), "choose": "last", "final": 5}))
    none, _ = attack(replaced(ATTACK, {"steps": 0, "feature_steps": (), "choose": "last", "final": 5}))
    assert not torch.allclose(one[1].images_NCHW, none[1].images_NCHW)
    features, _ = attack(replaced(ATTACK, {"steps": 0, "feature_steps": (1,), "choose": "last", "final": 5}))
    assert not torch.allclose(features[1].images_NCHW, none[1].images_NCHW)


def test_later_stages_lower_the_loss_and_a_ball_of_nothing_holds_everything():
    long = replaced(ATTACK, {"steps": 10, "feature_steps": (8, 8), "choose": "last", "crop_scale": (1.0, 1.0)})
    loss = attack(long)[0][1].trace["loss"]
    assert len(loss) == 26
    assert loss[25] < loss[10] < loss[0]
    held, _ = attack(replaced(long, {"radii": (1000.0, 0.0, 0.0)}))
    start, _ = attack(replaced(long, {"feature_steps": ()}))
    assert torch.allclose(held[1].images_NCHW, start[1].images_NCHW, atol=1e-4)
    free, _ = attack(replaced(long, {"radii": ()}))
    wide, _ = attack(long)
    assert torch.equal(free[1].images_NCHW, wide[1].images_NCHW)


def test_the_target_chooses_the_stage_that_it_likes_best():
    scores = {}
    for stages in range(3):
        made = replaced(ATTACK, {"feature_steps": ATTACK.stages.steps[:stages], "choose": "last"})
        scores[stages] = attack(made)[0][1].scores_N.mean().item()
    found, _ = attack(ATTACK)
    best = max(scores, key=scores.get)
    assert found[1].trace["stage"] == [best]
    assert found[1].scores_N.mean().item() == pytest.approx(scores[best], abs=1e-6)


class Judge(Classifier):
    """Calls images the attacked class in one of its calls, and another one in all others."""

    def __init__(self, call, label):
        torch.nn.Module.__init__(self)
        self.call, self.label, self.calls = call, label, 0

    def forward(self, x_BCHW):
        self.calls += 1
        answer = self.label if self.calls == self.call else self.label + 1
        return torch.nn.functional.one_hot(torch.full((len(x_BCHW),), answer), 4).float()


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_parity_takes_the_stage_that_the_evaluator_finds_right(stage):
    made = replaced(ATTACK, {"choose": "parity", "batch": 10})
    found, target = attack(made, judge=Judge(stage + 1, 1))
    assert found[1].trace["stage"] == [stage]
    assert vars(target.ledger) == dict(made.cost(1))


def test_only_parity_peeks():
    assert [replaced(ATTACK, {"choose": choose}).uses_evaluator() for choose in ("target", "last", "parity")] == [
        False,
        False,
        True,
    ]

    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(f"the evaluator was asked for {name}")

    attack(ATTACK, judge=Untouchable())
    with pytest.raises(UsageError, match="choose=target"):
        attack(replaced(ATTACK, {"choose": "parity"}))


@pytest.mark.parametrize("choose", ["target", "last"])
@pytest.mark.parametrize("more", [{}, {"views": 2, "align": "paa", "n_aug": 2, "feature_steps": (3,)}])
def test_the_ledger_equals_the_formula(choose, more):
    made = replaced(ATTACK, {"choose": choose, **more})
    results, target = attack(made, (3, 1))
    assert vars(target.ledger) == dict(made.cost(2))
    assert results[3].spent == results[1].spent


def test_the_published_budgets():
    """Reference 4.4: 4,000, 7,250 and (8 stages) 6,000 steps per class."""
    made = {name: build(IntermediateFeatures, preset) for name, preset in IntermediateFeatures.presets.items()}
    steps = {name: made[name].cost(1)["backward"] for name in ("paper", "celeba", "released", "dogs")}
    assert steps == {"paper": 4000, "celeba": 7250, "released": 6000, "dogs": 8000}
    assert made["paper"] == IntermediateFeatures()
    assert (made["celeba"].pool.size, made["dogs"].search.lr, made["released"].stages.count) == (5000, 0.01, 8)
    assert made["released"].uses_evaluator()
    assert made["small"].cost(24)["backward"] <= 30_000
    assert made["small"].prior_choice() == "stylegan2"


def test_the_batch_size_is_an_execution_detail():
    whole, _ = attack(replaced(ATTACK, {"batch": 100}))
    for batch in (1, 3):
        pieces, _ = attack(replaced(ATTACK, {"batch": batch}))
        assert torch.allclose(pieces[1].images_NCHW, whole[1].images_NCHW, atol=1e-4)
        assert torch.allclose(pieces[1].scores_N, whole[1].scores_N, atol=1e-4)


def test_one_style_vector_per_layer_works_too():
    found, _ = attack(replaced(ATTACK, {"single_w": False, "score_with": "single_w", "clip": True}))
    assert torch.isfinite(found[1].scores_N).all()


def test_what_cannot_be_done_is_said():
    world = TinyWorld()
    with pytest.raises(UsageError, match=r"1 block; set if-gmi.prior=stylegan2"):
        list(run_attack(ATTACK, [0], world.target(), world.prior(), world.attack_context()))
    with pytest.raises(UsageError, match="4 stages, 3 blocks; shorten feature_steps"):
        attack(replaced(ATTACK, {"feature_steps": (1, 1, 1)}))
    with pytest.raises(UsageError, match="radii for 3 stages"):
        replaced(ATTACK, {"radii": (1.0,)})
    with pytest.raises(UsageError, match="no negative steps"):
        replaced(ATTACK, {"feature_steps": (1, -1)})
    with pytest.raises(UsageError, match="'if-gmi': expected final <= candidates"):
        replaced(ATTACK, {"final": 9})
    assert isinstance(world.target(), TargetView)
