"""Adversarial training against a step written out in float64, and what it does to a small network."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from mibench_defenses.methods.at import AdversarialTraining
from mibench_models.small_cnn import SmallCnn
from mibench_models.torchvision_zoo import InceptionV3, ResNet18
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from mibench.api import Defense, UsageError, generator, params, pgd
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = AdversarialTraining
    settings: ClassVar = {"eps": 0.03, "steps": 3}


class TestContractOfL2WithCleanLoss(DefenseContract):
    component = AdversarialTraining
    settings: ClassVar = {"eps": 0.5, "steps": 3, "norm": "l2", "clean_weight": 0.5, "batchnorm": "eval"}


class TestContractOfReleasedCode(DefenseContract):
    component = AdversarialTraining
    settings = AdversarialTraining.presets["compat"]


def nll_by_hand(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([-log_softmax(row, 0)[label] for row, label in zip(logits, labels, strict=True)]).mean()


@pytest.mark.parametrize("clean_weight", [0.0, 0.3])
def test_step_equals_hand_computation_in_float64(clean_weight: float):
    model, (x, y) = WORLD.classifier().double(), WORLD.batch()
    x = x.double()
    defense = AdversarialTraining(eps=0.03, step_size=0.01, steps=3, clean_weight=clean_weight)
    ctx = WORLD.context()
    state = ctx.rng.get_state()
    step = defense.training_step(model, x, y, ctx)
    step.loss.backward()

    rng = torch.Generator()
    rng.set_state(state)
    twin = WORLD.classifier().double()
    moved = (x + 0.03 * (2 * torch.rand(x.shape, generator=rng).double() - 1)).clamp(0, 1)
    for _ in range(3):
        moved = moved.detach().requires_grad_(True)
        nll_by_hand(twin(moved), y).backward()
        moved = x + (moved.detach() + 0.01 * moved.grad.sign() - x).clamp(-0.03, 0.03)
        moved = moved.clamp(0, 1)
    twin.zero_grad()
    attacked, clean = twin(moved), twin(x)
    loss = nll_by_hand(attacked, y) + clean_weight * nll_by_hand(clean, y)
    loss.backward()
    torch.testing.assert_close(step.loss, loss, rtol=1e-9, atol=1e-12)
    for (name, got), twin_parameter in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got.grad, twin_parameter.grad, rtol=1e-7, atol=1e-10, msg=name)
    torch.testing.assert_close(step.signals["clean_loss"], nll_by_hand(clean, y).detach(), rtol=1e-9, atol=1e-12)
    assert step.signals["attacked_accuracy"] == (attacked.argmax(1) == y).float().mean()


@pytest.mark.parametrize(
    ("settings", "passes", "updates"),
    [
        ({"steps": 10}, 12, 1),
        ({"steps": 10, "clean_weight": 1.0}, 12, 2),
        ({"steps": 10, "batchnorm": "train"}, 12, 11),
        ({"steps": 10, "batchnorm": "eval"}, 12, 1),
        ({"steps": 10, "method": "fgsm"}, 3, 1),
    ],
)
def test_passes_cost_and_batchnorm_updates_per_step(settings: dict, passes: int, updates: int):
    model, (x, y) = WORLD.classifier(), WORLD.batch()
    seen = []
    model.body.register_forward_pre_hook(lambda *_: seen.append(1))
    defense = AdversarialTraining(**settings)
    defense.training_step(model, x, y, WORLD.context())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(seen) == passes
    assert [int(norm.num_batches_tracked) for norm in norms] == [updates] * 2
    assert all(parameter.requires_grad for parameter in model.parameters())
    attack, clean = passes - 2, settings.get("clean_weight", 0)
    assert defense.cost() == pytest.approx((passes + attack + 2 + (2 if clean else 0)) / 3)


def test_published_cost():
    # Published: 11 forward, 10 input-gradient, 1 full backward pass: 23 units. Here one forward pass more, to measure.
    assert 3 * AdversarialTraining().cost() == pytest.approx(23 + 1)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.04), ("l2", 1.2)])
@pytest.mark.parametrize("settings", [{}, {"random_start": False}, {"method": "fgsm"}, {"steps": 25}])
def test_the_attack_stays_in_the_ball_and_raises_the_loss(norm: str, eps: float, settings: dict):
    model, (x, y) = WORLD.trained(), WORLD.batch()
    defense = AdversarialTraining(norm=norm, eps=eps, **settings)
    moved = defense.perturb(model, x, y, generator("start"))
    size = (moved - x).flatten(1).norm(dim=1, p=2 if norm == "l2" else float("inf"))
    assert size.max() <= eps + 1e-6
    assert size.min() > 0.5 * eps
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert nll_by_hand(model(moved), y) > nll_by_hand(model(x), y) + 0.1


def test_default_step_reaches_across_the_ball():
    class Ramp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], 1)

    x = torch.full((1, 1, 2, 2), 0.5)
    model, label, rng = Ramp(), torch.zeros(1, dtype=torch.int64), generator("none")
    defense = AdversarialTraining(eps=0.1, steps=5, random_start=False)
    torch.testing.assert_close(defense.perturb(model, x, label, rng), x - 0.1)  # 5 steps of 0.05, cut to 0.1
    short = AdversarialTraining(eps=0.1, steps=5, step_size=0.01, random_start=False)
    torch.testing.assert_close(short.perturb(model, x, label, rng), x - 0.05)


def test_self_check_tells_a_working_attack_from_none():
    defense, model, ctx = AdversarialTraining(), WORLD.classifier(), WORLD.context()
    for attacked, active in [(0.5, False), (0.503, False), (0.51, True), (2.0, True)]:
        ctx.history = [{"clean_loss": 0.5, "attacked_loss": attacked, "attacked_accuracy": 0.5}] * 3
        verdict = defense.self_check(model, ctx)
        assert verdict.active is active
        assert verdict.signals["attacked_loss"] == pytest.approx(attacked)
    ctx.history = []
    assert not defense.self_check(model, ctx).active


@pytest.mark.parametrize(("eps", "active"), [(1e-7, False), (0.03, True)])
def test_an_inert_radius_is_inactive(eps: float, active: bool):
    defense = AdversarialTraining(eps=eps, steps=2)
    trained = train_steps(defense, WORLD, epochs=3)
    assert defense.self_check(trained.model, trained.ctx).active is active


def test_it_makes_a_network_robust():
    world = TinyWorld(per_class=16, noise=0.05)
    images, labels = world.images("heldout").all_images(), world.images("heldout").labels_N
    robust, accuracy = {}, {}
    for name, defense in {"none": Defense(), "at": AdversarialTraining(eps=0.08, steps=3)}.items():
        model = train_steps(defense, world, epochs=12, batch=16).deployed.requires_grad_(False)
        attack = {"eps": 0.08, "step_size": 0.016, "steps": 10, "rng": generator("pgd"), "targeted": False}
        accuracy[name] = (model(images).argmax(1) == labels).float().mean().item()
        robust[name] = (model(pgd(model, images, labels, **attack)).argmax(1) == labels).float().mean().item()
    assert min(accuracy.values()) > 0.9
    assert robust["at"] > robust["none"] + 0.5


@pytest.mark.parametrize("builder", [ResNet18, SmallCnn, InceptionV3])
def test_a_step_on_real_networks(builder: type):
    world = TinyWorld(size=64, channels=1)
    model = builder().build(num_classes=4, channels=1, size=64).train()
    x, y = world.batch(2)
    step = AdversarialTraining(steps=1).training_step(model, x, y, world.context())
    step.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if builder is InceptionV3:  # the auxiliary head counts in the loss, not in what is compared
        assert step.loss > step.signals["attacked_loss"] + 0.1


def test_presets_hold_the_published_values():
    paper = params.build(AdversarialTraining, AdversarialTraining.presets["paper"])
    assert (2 * paper.eps, 2 * paper.step_size, paper.steps, paper.clean_weight) == (0.01, 0.001, 10, 0)
    madry = params.build(AdversarialTraining, AdversarialTraining.presets["madry"])
    assert (255 * madry.eps, 255 * madry.step_size, madry.steps) == pytest.approx((8, 2, 7))
    for wrong in ({"eps": 0}, {"norm": "l1"}, {"step_size": 0}, {"steps": 0}):
        with pytest.raises(UsageError):
            params.build(AdversarialTraining, wrong)
