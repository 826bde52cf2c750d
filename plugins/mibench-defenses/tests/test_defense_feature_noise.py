"""Noise on features, against numbers calculated by hand and with numpy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.feature_noise import FeatureNoise, NoisyHead, rms_feature, unit_noise
from mibench_defenses.parts.wrapping import WrappedClassifier, compare, describe
from torch import nn

from mibench.api import Defense, UsageError, evaluating, generator, params, seeded
from mibench.api.composition import Composition
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = FeatureNoise


class TestContractOfAbsoluteLaplaceNoise(DefenseContract):
    component = FeatureNoise
    settings: ClassVar = {"kind": "laplace", "relative": False, "sd": 0.5}


class TestContractOfFreshNoise(DefenseContract):
    component = FeatureNoise
    settings: ClassVar = {"fixed": False}
    randomised = True


@pytest.mark.parametrize("kind", ["gauss", "laplace"])
def test_noise_has_unit_standard_deviation_and_the_tails_of_its_kind(kind: str):
    noise = unit_noise((400_000,), kind, rng=generator("noise")).double().numpy()
    assert np.isfinite(noise).all()
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    # P(|n| > 3): 2 (1 - Phi(3)) = 0.0027 for a Gaussian, exp(-3 sqrt 2) = 0.01437 for a Laplace variable.
    assert (np.abs(noise) > 3).mean() == pytest.approx({"gauss": 0.0027, "laplace": 0.01437}[kind], rel=0.1)


def test_a_fixed_vector_shifts_the_logits_of_a_linear_head_by_a_constant():
    trained = train_steps(FeatureNoise(sd=0.3), WORLD)
    x, _ = WORLD.batch()
    with evaluating(trained.model), torch.no_grad():
        plain = trained.model(x)
    noise = trained.ctx.extras["scale"] * trained.ctx.extras["noise"]
    shift = trained.model.head.weight.detach().double().numpy() @ noise.double().numpy()
    np.testing.assert_allclose((trained.deployed(x) - plain).detach().numpy(), np.tile(shift, (len(x), 1)), atol=1e-5)


def test_relative_scale_is_measured_on_the_features_of_all_training_images():
    trained = train_steps(FeatureNoise(sd=0.2), WORLD)
    with evaluating(trained.model), torch.no_grad():
        features = trained.model.features(WORLD.images().all_images()).double().numpy()
    rms = np.sqrt((features**2).mean())
    assert rms_feature(trained.model, WORLD.images(), trained.ctx) == pytest.approx(rms, rel=1e-6)
    assert float(trained.ctx.extras["scale"]) == pytest.approx(0.2 * rms, rel=1e-6)
    noise = trained.ctx.extras["noise"].double().numpy()
    verdict = FeatureNoise(sd=0.2).self_check(trained.model, trained.ctx)
    assert verdict.signals["relative_noise"] == pytest.approx(0.2 * np.sqrt((noise**2).mean()), rel=1e-6)


def test_the_trained_network_keeps_its_head_and_shares_its_weights():
    trained = train_steps(FeatureNoise(), WORLD)
    plain = train_steps(Defense(), WORLD)
    names = [*plain.model.state_dict()]
    assert [*trained.model.state_dict()] == names
    assert all(torch.equal(plain.model.state_dict()[name], trained.model.state_dict()[name]) for name in names)
    assert isinstance(trained.deployed.head, NoisyHead)
    assert {id(p) for p in trained.deployed.parameters()} == {id(p) for p in trained.model.parameters()}
    assert trained.deployed.num_classes == WORLD.classes
    assert trained.deployed.feature_dim == trained.model.feature_dim


def test_fresh_noise_follows_the_global_generator():
    trained = train_steps(FeatureNoise(fixed=False), WORLD)
    x, _ = WORLD.batch()
    with seeded("query"):
        first = trained.deployed(x)
    with seeded("query"):
        again = trained.deployed(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, trained.deployed(x))


def test_extras_of_the_head_are_passed_on():
    head = nn.Linear(3, 2)
    head.extra = {"kl": torch.ones(())}
    assert NoisyHead(head, torch.ones(()), torch.zeros(3), "gauss").extra == {"kl": torch.ones(())}


@pytest.mark.parametrize(("sd", "active"), [(0.0, False), (1e-7, False), (1.0, True)])
def test_self_check(sd: float, active: bool):
    trained = train_steps(FeatureNoise(sd=sd), WORLD)
    verdict = FeatureNoise(sd=sd).self_check(trained.model, trained.ctx)
    assert verdict.active is active
    assert (trained.deployed is trained.model) is (sd == 0)
    assert verdict.signals["changed"] >= 0


def test_self_check_before_finish_is_inactive():
    assert not FeatureNoise().self_check(WORLD.classifier(), WORLD.context()).active


def test_it_composes_in_both_orders_with_a_wrapper():
    from mibench_defenses.methods.smoothing import Smoothing

    x, _ = WORLD.batch()
    noise, smooth = FeatureNoise(sd=0.5), Smoothing(copies=3)
    one = train_steps(Composition({"feature-noise": noise, "smoothing": smooth}), WORLD).deployed
    two = train_steps(Composition({"smoothing": smooth, "feature-noise": noise}), WORLD).deployed
    for deployed in (one, two):
        out = deployed.outputs(x, stages=True)
        assert isinstance(deployed.head, NoisyHead)
        assert out.logits.shape == (len(x), WORLD.classes)
        assert torch.equal(deployed(x), out.logits)
    deployed = two
    with torch.no_grad():
        noisy = deployed(x)
        deployed.head.scale.zero_()
        assert not torch.equal(deployed(x), noisy)  # the head underneath the wrapper is the noisy one


def test_negative_noise_is_refused():
    with pytest.raises(UsageError, match="sd"):
        params.build(FeatureNoise, {"sd": -1.0})


def test_description_of_probabilities_by_hand():
    # Classes 0, 0, 1. Means: (.7, .3) and (.4, .6). Squared distances: 2 * .1^2, 2 * .1^2, 0.
    found = describe(torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.4, 0.6]]).double())
    entropy = -sum(p * np.log(p) for p in (0.8, 0.2, 0.6, 0.4, 0.4, 0.6)) / 3
    assert found == pytest.approx({"confidence": 2 / 3, "entropy": entropy, "dispersion": 0.04 / 3})


def test_comparison_counts_changed_predictions_and_total_variation():
    class Shifted(WrappedClassifier):
        def outputs(self, x_BCHW, *, stages=False):
            out = self.inner.outputs(x_BCHW, stages=stages)
            out.logits = torch.tensor([[0.0, 50.0, 0.0, 0.0]]).expand(len(x_BCHW), 4)
            return out

    plain = WORLD.trained()
    data = WORLD.images()
    p = plain(data.all_images()).double().softmax(1).detach().numpy()
    found = compare(plain, Shifted(plain), data, WORLD.context())
    assert found["changed"] == pytest.approx((p.argmax(1) != 1).mean())
    assert found["shift"] == pytest.approx((1 - p[:, 1]).mean(), abs=1e-6)  # all mass goes to class 1
    assert compare(plain, WrappedClassifier(plain), data, WORLD.context())["shift"] == 0


def test_evaluating_restores_modes():
    model = WORLD.classifier().train()
    model.body[0].eval()
    modes = [module.training for module in model.modules()]
    with evaluating(model), torch.no_grad():
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
