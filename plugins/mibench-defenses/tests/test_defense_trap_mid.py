"""Trap-MID: blend, signed step and labels by hand; what a step may and may not touch; trapdoors that open."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.trap_mid import TrapMid
from mibench_defenses.parts.trapdoors import augmented, balanced_labels, blend, part, trapdoor_accuracy
from mibench_models.torchvision_zoo import ResNet18
from torch import nn
from trap_mid_contract import TrapMidContract

from mibench.api import Classifier, Outputs, TrainContext, UsageError, generator, params, seeded
from mibench.testing import TinyWorld, train_steps

WORLD = TinyWorld()


def made(**settings) -> TrapMid:
    """Return the defense with these settings, by their names in keys."""
    return params.build(TrapMid, settings)


class TestContract(TrapMidContract):
    pass


class TestContractWithFeatureDiscriminator(TrapMidContract):
    settings: ClassVar = {"discriminator": "feature", "low": 0.5}


class TestContractWithoutDiscriminatorAndAugmentation(TrapMidContract):
    settings: ClassVar = {"discriminator": "none", "augment": False}


def begun(defense: TrapMid, model: Classifier | None = None, **world) -> tuple[Classifier, TrainContext]:
    tiny = replace(WORLD, **world)
    ctx = tiny.context(steps_per_epoch=3)
    ctx.batch = 8
    with seeded("begun"):
        model = defense.build(model or tiny.classifier(), ctx)
    defense.on_epoch_start(model.train(), ctx)
    return model, ctx


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_blend_is_the_formula_and_stays_in_range():
    rng = np.random.default_rng(0)
    x, trigger = rng.random((2, 5, 3, 4, 4)).astype(np.float32)
    got = blend(torch.tensor(x), torch.tensor(trigger), 0.02).numpy()
    np.testing.assert_allclose(got, 0.98 * x.astype(np.float64) + 0.02 * trigger, atol=1e-6)
    extremes = blend(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]), 0.02)
    assert extremes.tolist() == pytest.approx([0.0, 1.0])


def test_the_authors_of_atat_blend_in_other_units():
    """Their x in [-1, 1] and T in [0, 1], brought back to [0, 1], is a blend with a trigger in [1/2, 1]."""
    x, trigger = np.random.default_rng(1).random((2, 100))
    theirs = (0.98 * (2 * x - 1) + 0.02 * trigger + 1) / 2
    ours = blend(torch.tensor(x), torch.tensor((1 + trigger) / 2), 0.02).numpy()
    np.testing.assert_allclose(ours, theirs)
    preset = TrapMid.presets["atat-paper"]
    assert preset["low"] == (1 + 0) / 2
    assert preset["step"] == 0.01 / 2


class Linear(Classifier):
    """Logits W x + b: gradients by hand."""

    def __init__(self, classes: int, pixels: int) -> None:
        body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))
        super().__init__(body, head="1", stage_names=[], mean=[0.0], std=[1.0], channels=1)


def test_signed_step_of_the_triggers_by_hand():
    defense = made(discriminator="none", augment=False, step=0.05, alpha=0.1)
    with seeded("linear"):
        model, ctx = begun(defense, Linear(4, 16), channels=1, size=4, classes=4)
    x, c = torch.rand(6, 1, 4, 4, generator=generator("x")), torch.tensor([0, 2, 2, 0, 2, 3])
    before = ctx.extras["triggers"].double().numpy().copy()
    defense._move_triggers(model.eval(), x, c, ctx)
    weight, bias = (p.detach().double().numpy() for p in model.body[1].parameters())
    gradient = np.zeros_like(before)
    for image, label in zip(x.double().numpy(), c.tolist(), strict=True):
        logits = weight @ (0.9 * image + 0.1 * before[label]).ravel() + bias
        p = np.exp(logits) / np.exp(logits).sum()
        gradient[label] += (0.1 * weight.T @ (p - np.eye(4)[label])).reshape(1, 4, 4) / 6
    assert np.abs(gradient[[0, 2, 3]]).min() > 1e-6  # every sign is certain
    expected = np.clip(before - 0.05 * np.sign(gradient), 0, 1)
    np.testing.assert_allclose(ctx.extras["triggers"].numpy(), expected, atol=1e-6)
    assert np.array_equal(ctx.extras["triggers"][1].double().numpy(), before[1])  # not in the batch: not moved


@pytest.mark.parametrize("low", [0.0, 0.5])
def test_triggers_stay_in_range(low: float):
    defense = made(low=low, step=0.3)
    triggers = train_steps(defense, WORLD, epochs=3).ctx.extras["triggers"]
    assert triggers.shape == (4, 3, 16, 16)
    assert float(triggers.min()) == low
    assert float(triggers.max()) == 1.0


@pytest.mark.parametrize("judge", ["pixel", "feature", "none"])
def test_discriminator_and_triggers_leave_the_target_alone(judge: str):
    defense = made(discriminator=judge)
    model, ctx = begun(defense)
    seen_modes = []
    model.body[0][1].register_forward_hook(lambda module, *_: seen_modes.append(module.training))
    x, y = WORLD.batch()
    weights = snapshot(model)
    step = defense.training_step(model, x, y, ctx)
    assert seen_modes[-1] and not any(seen_modes[:-1])  # one pass in training mode, the last
    assert model.training and all(module.training for module in model.modules())
    counted = snapshot(model)
    assert int(counted["body.block1.1.num_batches_tracked"]) == int(weights["body.block1.1.num_batches_tracked"]) + 1
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    parameters = dict(model.named_parameters())
    assert all(torch.equal(counted[name], weights[name]) for name in parameters)
    judged = ctx.extras.get("discriminator", nn.Identity())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in judged.parameters())
    assert not ctx.extras["triggers"].requires_grad
    judged_before = snapshot(judged)
    step.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in judged.parameters())
    assert all(torch.equal(value, judged_before[name]) for name, value in judged.state_dict().items())


def test_first_two_sub_steps_touch_no_statistics_of_the_target():
    defense = made()
    model, ctx = begun(defense)
    x, y = WORLD.batch()
    weights, judged = snapshot(model), snapshot(ctx.extras["discriminator"])
    triggers = ctx.extras["triggers"].clone()
    model.eval()
    defense._train_discriminators(model, x, y, ctx)
    after_teaching = snapshot(ctx.extras["discriminator"])
    assert not torch.equal(judged["body.block1.1.running_mean"], after_teaching["body.block1.1.running_mean"])
    assert not torch.equal(judged["body.fc.weight"], after_teaching["body.fc.weight"])
    assert torch.equal(ctx.extras["triggers"], triggers)
    defense._move_triggers(model, x, y, ctx)
    moved = snapshot(ctx.extras["discriminator"])
    assert all(torch.equal(moved[name], value) for name, value in after_teaching.items())
    assert not torch.equal(ctx.extras["triggers"], triggers)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())


def test_loss_weighs_both_halves_with_the_moved_triggers():
    defense = made(augment=False, beta=0.3, discriminator="none")
    model, ctx = begun(defense)
    x, y = WORLD.batch()
    c = ctx.extras["labels"][:8]
    loss = float(defense.training_step(model, x, y, ctx).loss.detach())
    logits = model(torch.cat([x, 0.98 * x + 0.02 * ctx.extras["triggers"][c]])).detach().double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    chosen = -log_p[np.arange(16), np.concatenate([y.numpy(), c.numpy()])]
    assert loss == pytest.approx(0.7 * chosen[:8].mean() + 0.3 * chosen[8:].mean(), rel=1e-5)


def test_labels_are_shuffled_balanced_and_used_up_in_an_epoch():
    ctx = WORLD.context(steps_per_epoch=5)
    ctx.batch = 8
    first, second = balanced_labels(ctx), balanced_labels(ctx)
    assert np.bincount(first.numpy()).tolist() == [10, 10, 10, 10]
    assert not torch.equal(first, second)
    assert not torch.equal(first, first.sort().values)


def test_augmentation_keeps_half_of_a_half_of_a_half_and_the_range():
    x = torch.rand(2000, 1, 9, 9, generator=generator("images"))
    moved = augmented(x, generator("augment"))
    same = (moved - x).abs().amax((1, 2, 3)) < 1e-4
    assert float(same.float().mean()) == pytest.approx(1 / 8, abs=0.035)
    mirrored = (moved - x.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert float(mirrored.float().mean()) == pytest.approx(1 / 8, abs=0.035)
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1 + 1e-6
    assert torch.equal(moved, augmented(x, generator("augment")))


def test_augmentation_turns_by_thirty_degrees_at_most_and_crops_a_fifth_at_most():
    """A bright spot on the horizontal axis moves by the angle of the turn, outwards by the crop."""
    x = torch.zeros(3000, 1, 65, 65)
    x[:, :, 30:35, 46:51] = 1.0  # centre (0, 16) from the middle
    moved = augmented(x, generator("spots"))[:, 0].double()
    mass = moved.sum((1, 2))
    across = (moved.sum(1) * (torch.arange(65) - 32)).sum(1) / mass
    down = (moved.sum(2) * (torch.arange(65) - 32)).sum(1) / mass
    # A crop shifts the window by at most (1 - side) of half the image and enlarges by 1 / side, side >= sqrt(.8).
    still = (across.abs() - 16).abs() + down.abs() < 0.01
    assert 0.2 < float(still.float().mean()) < 0.3  # neither crop nor turn
    kept = torch.stack([across, down], 1).norm(dim=1)
    turned_only = ((kept - 16).abs() < 0.02) & ~still
    angle = torch.atan2(down, across.abs())[turned_only].abs().rad2deg()
    assert 28 < float(angle.max()) < 30.5
    assert float(kept.max()) < 16 / 0.8**0.5 + 2**0.5 * 32.5 * (1 / 0.8**0.5 - 1) + 0.1


def test_trapdoors_open_in_the_tiny_world():
    defense = made(alpha=0.1, augment=False, discriminator="none")
    begin = train_steps(defense, WORLD, epochs=1)
    trained = train_steps(defense, WORLD, epochs=40)
    assert not defense.self_check(begin.model, begin.ctx).active
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active, verdict.reason
    assert verdict.signals["trapdoor_accuracy"] > 0.8
    assert trained.ctx.history[-1]["trapdoor_accuracy"] > trained.ctx.history[0]["trapdoor_accuracy"]
    strangers = torch.rand(trained.ctx.extras["triggers"].shape, generator=generator("strangers"))
    assert trapdoor_accuracy(trained.model, WORLD.images(), strangers, 0.1) < 0.5


def test_a_measurement_that_never_ran_is_inactive():
    assert not made().self_check(WORLD.classifier(), WORLD.context()).active


def test_learning_rate_of_the_discriminator_follows_the_recipe():
    defense = made()
    model, ctx = begun(defense)
    ctx.lr = 1e-4
    defense.on_epoch_start(model, ctx)
    assert {group["lr"] for group in ctx.extras["discriminator_optimizer"].param_groups} == {1e-4}


def test_auxiliary_heads_are_cut_with_the_batch():
    outputs = Outputs(torch.arange(8.0)[:, None], torch.zeros(8, 2), aux=[(torch.arange(8.0)[:, None] + 10, 0.4)])
    second = part(outputs, slice(4, None))
    assert second.logits.flatten().tolist() == [4, 5, 6, 7]
    assert second.aux[0][0].flatten().tolist() == [14, 15, 16, 17]
    assert second.aux[0][1] == 0.4


def test_one_step_on_a_resnet():
    with seeded("arch"):
        plain = ResNet18().build(num_classes=4, channels=3, size=64)
    model, ctx = begun(made(), plain, size=64)
    x = torch.rand(2, 3, 64, 64, generator=generator("big"))
    step = made().training_step(model, x, torch.tensor([0, 1]), ctx)
    step.loss.backward()
    assert bool(step.loss.isfinite())
    assert model.body.fc.weight.grad is not None


def test_costs_by_hand():
    """Passes of a batch: f twice in full, f to the triggers; D twice in full and once to the triggers; plain is 3."""
    assert made().cost() == pytest.approx((2 * 3 + 2 + 2 * 3 + 2) / 3)
    assert made(discriminator="feature").cost() == pytest.approx(12 / 3)
    assert made(discriminator="none").cost() == pytest.approx(8 / 3)


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"beta": 1.5}, {"discriminator": "all"}, {"low": 1.0}])
def test_impossible_settings_are_refused(settings: dict):
    with pytest.raises(UsageError, match=next(iter(settings))):
        params.build(TrapMid, settings)
