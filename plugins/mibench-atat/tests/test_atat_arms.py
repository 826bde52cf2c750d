"""The arms beside AT-AT: a perturbation that points elsewhere, none at all, and what stays as it was without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mibench_atat.defense import ACTIVE_ABOVE, AntiAdversarialTraining, draw_targets
from mibench_atat.directions import random_direction
from torch import Tensor
from torch.nn.functional import cross_entropy

from mibench.api import generator, params
from mibench.protocol.load import load_protocol
from mibench.registry import load_registry
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()
LARGE = {"eps": 0.05, "step_size": 0.01, "lam": 0.5}
RANDOM = {**LARGE, "direction": "random"}
NONE = {**LARGE, "direction": "none"}


class TestContractOfRandomDirections(DefenseContract):
    component = AntiAdversarialTraining
    settings = RANDOM


class TestContractOfNoPerturbation(DefenseContract):
    component = AntiAdversarialTraining
    settings = NONE


def nll_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    p = np.exp(logits.detach().numpy())
    p /= p.sum(1, keepdims=True)
    return torch.tensor(-np.log(p[np.arange(len(p)), labels.numpy()]).mean())


def step(direction: str, **settings: object) -> tuple[float, Tensor, Tensor, Tensor]:
    """Return loss of one step in float64, with a frozen BatchNorm, and clean images, perturbed images, wrong labels."""
    model, (x, y) = WORLD.classifier().double().eval(), WORLD.batch()
    ctx, made = WORLD.context(), AntiAdversarialTraining(**{**LARGE, **settings}, direction=direction)
    state = ctx.rng.get_state()
    loss = made.training_step(model, x.double(), y, ctx).loss.detach()
    rng = torch.Generator()
    rng.set_state(state)
    wrong = draw_targets(y, 4, rng, "uniform")
    return float(loss), x.double(), made.perturb(model, x.double(), wrong, rng), wrong


@pytest.mark.parametrize("direction", ["adversarial", "random", "none"])
def test_the_loss_of_each_arm_by_hand(direction: str):
    loss, x, moved, wrong = step(direction)
    model, y = WORLD.classifier().double().eval(), WORLD.batch()[1]
    want = nll_by_hand(model(x), y) + 0.5 * nll_by_hand(model(moved), wrong)
    assert loss == pytest.approx(float(want), rel=1e-9)
    assert torch.equal(moved, x) == (direction == "none")


def test_arms_draw_the_same_wrong_labels():
    assert torch.equal(step("adversarial")[3], step("random")[3])
    assert torch.equal(step("adversarial")[3], step("none")[3])


@pytest.mark.parametrize("settings", [{}, {"method": "fgsm"}, {"steps": 2, "random_start": False}])
def test_random_perturbations_are_exactly_as_long_and_point_elsewhere(settings: dict):
    model, (x, y) = WORLD.classifier().double().eval(), WORLD.batch()
    x = (2 * x.double() - 0.5).clamp(0, 1)  # many pixels at the border
    wrong = draw_targets(y, 4, generator("wrong"))
    deltas = {}
    for direction in ("adversarial", "random"):
        made = AntiAdversarialTraining(**{**LARGE, **settings}, direction=direction)
        moved = made.perturb(model, x, wrong, generator("start"))
        assert moved.min() >= 0
        assert moved.max() <= 1
        deltas[direction] = (moved - x).flatten(1)
    for norm in (1, 2, float("inf")):
        lengths = [torch.linalg.vector_norm(delta, norm, dim=1) for delta in deltas.values()]
        torch.testing.assert_close(lengths[0], lengths[1], rtol=1e-9, atol=1e-12)
    cosine = torch.cosine_similarity(*deltas.values(), dim=1)
    assert cosine.abs().max() < 5 / deltas["random"].shape[1] ** 0.5  # five standard deviations of a random direction
    loss = {name: float(nll_by_hand(model(x + delta.view_as(x)), wrong)) for name, delta in deltas.items()}
    plain = float(nll_by_hand(model(x), wrong))
    assert loss["adversarial"] < plain
    assert abs(loss["random"] - plain) < (plain - loss["adversarial"]) / 3


def test_signs_are_even_inside_and_turned_inwards_at_the_border():
    x = torch.full((40, 1, 30, 30), 0.5)
    x[:20, :, :10], x[20:, :, :10] = 0.0, 1.0
    delta = random_direction(x, x + 0.01, generator("signs")) - x
    torch.testing.assert_close(delta.abs(), torch.full_like(x, 0.01), rtol=0, atol=1e-6)
    assert (delta[:20, :, :10] > 0).all()
    assert (delta[20:, :, :10] < 0).all()
    inside = delta[:, :, 10:] > 0
    assert float(inside.double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / inside.numel() ** 0.5)


def test_magnitudes_are_permuted_and_none_is_lost():
    rng = generator("magnitudes")
    x, by = torch.full((3, 2, 4, 4), 0.5).double(), torch.rand(3, 2, 4, 4, generator=rng).double() / 10
    moved = random_direction(x, x + by, rng) - x
    torch.testing.assert_close(moved.abs().flatten(1).sort().values, by.flatten(1).sort().values, rtol=0, atol=1e-12)
    assert not torch.allclose(moved.abs(), by)


def test_without_a_perturbation_it_is_label_smoothing_in_expectation():
    """The mean over all wrong labels is 1 + lam times torch's own smoothed cross-entropy, for several lam and K."""
    rng = generator("logits")
    for lam, classes in ((0.08, 4), (1.0, 4), (1.0, 20), (2.5, 7)):
        logits, y = torch.randn(6, classes, generator=rng).double(), torch.arange(6) % classes
        others = [(y + shift) % classes for shift in range(1, classes)]
        expected = cross_entropy(logits, y) + lam * torch.stack([cross_entropy(logits, t) for t in others]).mean()
        smoothing = lam * classes / ((classes - 1) * (1 + lam))
        if smoothing <= 1:  # beyond, torch refuses
            smoothed = cross_entropy(logits, y, label_smoothing=smoothing)
            torch.testing.assert_close(expected, (1 + lam) * smoothed, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("settings", "units"), [(RANDOM, 7 + 5 + 4), (NONE, 2 * 3), ({**NONE, "lam": 0.0}, 3)])
def test_cost_counts_the_passes_of_an_arm(settings: dict, units: int):
    passes, (x, y) = [], WORLD.batch()
    model = WORLD.classifier()
    model.body.register_forward_pre_hook(lambda *_: passes.append(1))
    made = AntiAdversarialTraining(**settings)
    made.training_step(model, x, y, WORLD.context())
    assert made.cost() == pytest.approx(units / 3)
    assert len(passes) == {16: 7, 6: 2, 3: 1}[units]


def test_parameters_of_the_default_stay_what_they_were():
    assert "direction" not in params.canonical(AntiAdversarialTraining(lam=0.3))
    assert params.canonical(AntiAdversarialTraining(direction="none"))["direction"] == "none"


@pytest.mark.parametrize("protocol", ["orl64@1.0", "rendered64"])
@pytest.mark.parametrize(("preset", "direction"), [("random-delta", "random"), ("no-delta", "none")])
def test_arms_differ_from_what_the_small_protocols_take_in_the_direction_alone(protocol, preset, direction):
    loaded = load_protocol(load_registry(), protocol).protocol
    usual = load_protocol(load_registry(), loaded.presets.like or protocol).protocol.presets.defense["atat"]
    arm = params.canonical(params.build(AntiAdversarialTraining, AntiAdversarialTraining.presets[preset]))
    assert arm == {**params.canonical(params.build(AntiAdversarialTraining, usual)), "direction": direction}


@pytest.mark.parametrize("direction", ["random", "none"])
def test_an_arm_is_active_if_it_was_trained_with_a_weight(direction: str):
    made = AntiAdversarialTraining(lam=0.5, direction=direction)
    trained = train_steps(made, WORLD)
    verdict = made.self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["targeted_success"] < 1
    assert direction in verdict.reason
    assert not AntiAdversarialTraining(lam=0, direction=direction).self_check(trained.model, trained.ctx).active
    trained.ctx.history[-1]["anti_loss"] = float("nan")
    assert not made.self_check(trained.model, trained.ctx).active
    placebo = AntiAdversarialTraining(lam=0.5, direction=direction, placebo=True)
    trained.ctx.history = [{"targeted_success": ACTIVE_ABOVE, "anti_loss": 1.0}]
    assert not placebo.self_check(trained.model, trained.ctx).active
