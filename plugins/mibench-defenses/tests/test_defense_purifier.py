"""Prediction purification, against torch.distributions, numpy and hand values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.purifier import PurifiedClassifier, Purifier, disturb
from mibench_defenses.parts.confidence_vae import ConfidencePurifier, divergence, swap_top
from torch.distributions import Normal, kl_divergence

from mibench.api import Defense, UsageError, generator, params, seeded
from mibench.api.composition import Composition
from mibench.api.extras import flat_extras
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()
SMALL = {"hidden": 16, "latent": 3, "epochs": 3, "batch": 16}


class TestContract(DefenseContract):
    component = Purifier
    settings = SMALL


class TestContractOfAutoencoderWithSwap(DefenseContract):
    component = Purifier
    settings: ClassVar = {**SMALL, "cvae": False, "keep_label": "swap", "reference": "train"}


def some_confidences(n: int = 64, classes: int = 5) -> torch.Tensor:
    return (3 * torch.randn(n, classes, generator=generator("confidences"))).softmax(1)


def made(cvae: bool = True, classes: int = 5) -> ConfidencePurifier:
    with seeded("purifier"):
        return ConfidencePurifier(classes, hidden=16, latent=3, cvae=cvae)


def test_divergence_equals_torchs():
    rng = generator("divergence")
    mean, log_var = torch.randn(2, 9, 4, generator=rng)
    expected = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_var), expected)
    assert torch.equal(divergence(torch.zeros(2, 4), torch.zeros(2, 4)), torch.zeros(2))


def test_loss_of_the_autoencoder_in_numpy():
    purifier, p = made(cvae=False).double(), some_confidences().double()
    layers = [layer for part in (purifier.encoder, purifier.decoder) for layer in (part[0], part[2])]
    values, first, *rest = (
        p.numpy(),
        *[(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers],
    )
    hidden = np.maximum(values @ first[0].T + first[1], 0)
    latent = hidden @ rest[0][0].T + rest[0][1]
    hidden = np.maximum(latent @ rest[1][0].T + rest[1][1], 0)
    scores = hidden @ rest[2][0].T + rest[2][1]
    q = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    label = values.argmax(1)
    expected = ((q - values) ** 2).sum(1).mean() - 0.3 * np.log(q[np.arange(len(q)), label]).mean()
    loss = Purifier(cvae=False, label_weight=0.3).purification_loss(purifier, p, generator("unused"))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-9)


def test_variational_loss_adds_the_weighted_divergence_and_draws_from_its_generator():
    purifier, p = made(), some_confidences()
    without, with_it, other = (
        float(Purifier(beta=beta).purification_loss(purifier, p, generator("latent", seed)).detach())
        for beta, seed in [(0.0, 0), (2.0, 0), (0.0, 1)]
    )
    mean, log_variance = purifier.encode(p, p.argmax(1))
    kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    assert with_it - without == pytest.approx(2 * float(kl.sum(1).mean().detach()), rel=1e-4)
    assert other != without


def test_swap_by_hand():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]])
    swapped = swap_top(scores, torch.tensor([2, 2, 0]))
    assert torch.equal(swapped, torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1]]))


def test_swap_keeps_every_prediction_even_of_an_untrained_purifier():
    plain, x = WORLD.trained(), WORLD.images().all_images()
    kept, lost = (PurifiedClassifier(plain, made(False, 4), swap=swap)(x) for swap in (True, False))
    assert torch.equal(kept.argmax(1), plain(x).argmax(1))
    assert not torch.equal(lost.argmax(1), plain(x).argmax(1))
    torch.testing.assert_close(kept.sort(1).values, lost.sort(1).values)


@pytest.mark.parametrize("cvae", [True, False])
def test_fitting_lowers_the_loss_and_keeps_labels(cvae: bool):
    defense = Purifier(cvae=cvae, hidden=32, epochs=100, batch=8, lr=0.01, label_weight=1.0)
    world = TinyWorld(per_class=8)
    trained = train_steps(defense, world, epochs=6)
    signals = defense.self_check(trained.model, trained.ctx).signals
    assert signals["changed"] <= 0.1
    p = defense.confidences(trained.model.eval(), world.images(), trained.ctx, generator("views"))
    fitted, fresh = trained.ctx.extras["purifier"], made(cvae, world.classes)
    log_q, log_0 = fitted(p), fresh(p)
    assert (log_q.exp() - p).square().sum(1).mean() < 0.5 * (log_0.exp() - p).square().sum(1).mean()


def test_a_strong_bottleneck_shrinks_the_dispersion():
    """With a collapsed latent a conditional purifier knows the class alone: one answer per class."""
    defense = Purifier(beta=10.0, epochs=60, batch=8, lr=0.01, latent=2, hidden=16)
    trained = train_steps(defense, WORLD, epochs=3)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active
    assert verdict.signals["dispersion_after"] < 0.1 * verdict.signals["dispersion_before"]


def test_answers_are_log_probabilities_of_the_inner_network_s_features():
    trained = train_steps(Purifier(**SMALL), WORLD)
    x, _ = WORLD.batch()
    out, inner = trained.deployed.outputs(x, stages=True), trained.model.eval().outputs(x, stages=True)
    torch.testing.assert_close(out.logits.exp().sum(1), torch.ones(len(x)))
    assert torch.equal(out.features, inner.features)
    assert all(torch.equal(out.stages[name], inner.stages[name]) for name in inner.stages)
    expected = trained.ctx.extras["purifier"](inner.logits.softmax(1))
    assert torch.equal(out.logits, expected)


def test_a_loaded_target_answers_with_the_saved_purifier_inside_a_composition():
    from mibench_defenses.methods.smoothing import Smoothing

    both = Composition({"purifier": Purifier(**SMALL), "smoothing": Smoothing(copies=2)})
    trained = train_steps(both, WORLD)
    ctx = WORLD.context(seed=7)
    with seeded("other weights"):
        fresh = both.build(WORLD.classifier(seed=9), ctx)
    fresh.load_state_dict(trained.model.state_dict())
    ctx.extras.update(flat_extras(trained.ctx.extras))
    x, _ = WORLD.batch()
    assert torch.equal(both.inference(fresh, ctx).eval()(x), trained.deployed(x))


def test_training_is_plain_and_two_fits_agree():
    plain, one, two = (train_steps(d, WORLD) for d in (Defense(), Purifier(**SMALL), Purifier(**SMALL)))
    state = one.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.model.state_dict().items())
    first, second = flat_extras(one.ctx.extras), flat_extras(two.ctx.extras)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_views_are_mirrored_crops():
    """On a horizontal ramp a crop is a ramp of 0.6 to 0.9 of the slope, mirrored for about half of the images."""
    ramp = torch.linspace(0, 1, 32).expand(200, 1, 32, 32)
    views = disturb(ramp, generator("views"))
    slopes = (views[:, 0, 16, 20] - views[:, 0, 16, 12]) * 31 / 8
    assert views.shape == ramp.shape
    assert slopes.abs().min() > 0.59
    assert slopes.abs().max() < 0.91
    assert 0.35 < (slopes < 0).float().mean() < 0.65
    assert views.min() >= 0
    assert views.max() <= 1
    assert (views.diff(dim=2).abs() < 1e-5).all()  # columns stay constant


def test_self_check_is_off_where_nothing_changed():
    ctx = WORLD.context()
    verdict = Purifier().self_check(WORLD.classifier(), ctx)
    assert not verdict.active
    ctx.extras |= {"check.shift": torch.tensor(5e-4), "check.changed": torch.tensor(0.0)}
    assert not Purifier().self_check(WORLD.classifier(), ctx).active
    ctx.extras["check.shift"] = torch.tensor(0.2)
    assert Purifier().self_check(WORLD.classifier(), ctx).active


@pytest.mark.parametrize("settings", [{"latent": 0}, {"lr": 0.0}, {"beta": -1.0}, {"keep_label": "perhaps"}])
def test_impossible_settings_are_refused(settings: dict):
    with pytest.raises(UsageError):
        params.build(Purifier, settings)
