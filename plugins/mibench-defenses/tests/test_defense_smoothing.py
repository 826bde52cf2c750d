"""Randomised smoothing, against numpy, scipy and closed forms."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.smoothing import SmoothedClassifier, Smoothing, join

from mibench.api import Defense, UsageError, generator, params, seeded
from mibench.api.composition import Composition
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()
FEW = {"copies": 3}


class TestContract(DefenseContract):
    component = Smoothing
    settings = FEW


class TestContractOfMeanLogitsAndNoisyTraining(DefenseContract):
    component = Smoothing
    settings: ClassVar = {**FEW, "aggregate": "logits", "train_noise": True}


class TestContractOfVotes(DefenseContract):
    component = Smoothing
    settings: ClassVar = {**FEW, "aggregate": "votes"}
    differentiable = False


class TestContractOfFreshNoise(DefenseContract):
    component = Smoothing
    settings: ClassVar = {**FEW, "fresh": True}
    randomised = True


def smoothed(seed: int = 5, **settings) -> SmoothedClassifier:
    return SmoothedClassifier(WORLD.trained(), Smoothing(**settings), seed)


def test_answers_are_joined_as_by_numpy():
    logits = 3 * torch.randn(6, 5, 4, generator=generator("join")).double()
    values = logits.numpy()
    p = np.exp(values) / np.exp(values).sum(2, keepdims=True)
    np.testing.assert_allclose(join(logits, "probabilities").numpy(), np.log(p.mean(0)), atol=1e-12)
    np.testing.assert_allclose(join(logits, "logits").numpy(), values.mean(0), atol=1e-12)
    votes = np.stack([np.bincount(column, minlength=4) for column in values.argmax(2).T])
    got = join(logits, "votes").exp().numpy()
    np.testing.assert_allclose(got, (votes + 0.5) / (6 + 2), atol=1e-12)
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-12)


def test_probabilities_of_certain_answers_stay_finite():
    logits = torch.tensor([[[500.0, 0.0]], [[500.0, 0.0]]])
    assert torch.equal(join(logits, "probabilities"), torch.tensor([[0.0, -500.0]]))


def test_mean_logits_are_those_of_single_passes():
    x, _ = WORLD.batch(4)
    model = smoothed(copies=5, sigma=0.2, aggregate="logits")
    noises = torch.cat([*model._noise(x)])
    assert noises.shape == (5, 1, *x.shape[1:])
    one_by_one = torch.stack([model.inner(x + 0.2 * noise) for noise in noises]).mean(0)
    torch.testing.assert_close(model(x), one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 8, 13, 1000])
def test_chunks_do_not_change_the_answer(chunk: int):
    x, _ = WORLD.batch(4)
    whole, parts = (smoothed(copies=6, chunk=c).outputs(x, stages=True) for c in (1000, chunk))
    torch.testing.assert_close(whole.logits, parts.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.features, parts.features, rtol=1e-4, atol=1e-5)
    for name, stage in whole.stages.items():
        torch.testing.assert_close(stage, parts.stages[name], rtol=1e-4, atol=1e-5)


def test_passes_and_chunk_sizes():
    x, _ = WORLD.batch(4)
    model, seen = smoothed(copies=7, chunk=12), []
    hook = model.body.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    model(x)
    hook.remove()
    assert seen == [12, 12, 4]


def test_features_give_the_mean_logits_and_stages_have_the_batch():
    x, _ = WORLD.batch()
    model = smoothed(copies=4, aggregate="logits")
    out = model.outputs(x, stages=True)
    torch.testing.assert_close(model.head(out.features), out.logits, rtol=1e-4, atol=1e-5)
    assert list(out.stages) == model.stage_names
    assert all(len(stage) == len(x) for stage in out.stages.values())


def test_fixed_noises_follow_the_seed_and_suit_any_size():
    x, _ = WORLD.batch()
    assert torch.equal(smoothed(1)(x), smoothed(1)(x))
    assert not torch.equal(smoothed(1)(x), smoothed(2)(x))
    model = smoothed(1)
    assert model(torch.rand(2, 3, 32, 32, generator=generator("larger"))).shape == (2, WORLD.classes)
    assert torch.equal(model(x), smoothed(1)(x))
    noise = torch.cat([*smoothed(copies=300)._noise(x)]).double()
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_fresh_noises_differ_between_images_and_follow_the_global_generator():
    x = WORLD.batch()[0][:1].repeat(2, 1, 1, 1)
    model = smoothed(fresh=True)
    with seeded("query"):
        first = model(x)
    with seeded("query"):
        again = model(x)
    assert torch.equal(first, again)
    assert not torch.allclose(first[0], first[1])
    torch.testing.assert_close(*(smoothed()(x)[i] for i in (0, 1)))


def test_training_noise_comes_after_the_augmentation_and_has_its_size():
    x = torch.full((8, 3, 64, 64), 0.5)
    transform = Smoothing(sigma=0.25, train_noise=True).train_transform(lambda x: x + 1, WORLD.context())
    with seeded("noise"):
        noise = transform(x) - 1.5
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    assert float(noise.std()) == pytest.approx(0.25, abs=0.005)
    base = lambda x: x  # noqa: E731
    assert Smoothing(sigma=0.25).train_transform(base, WORLD.context()) is base


@pytest.mark.parametrize(("sigma", "active"), [(0.0, False), (1e-6, False), (0.5, True)])
def test_self_check(sigma: float, active: bool):
    defense = Smoothing(sigma=sigma, copies=4)
    trained = train_steps(defense, WORLD)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active is active
    assert (trained.deployed is trained.model) is (sigma == 0)
    assert set(verdict.signals) >= {"changed", "shift", "confidence_before", "confidence_after"}


def test_no_noise_trains_as_plain_training_does():
    plain = train_steps(Defense(), WORLD).model.state_dict()
    own = train_steps(Smoothing(), WORLD).model.state_dict()
    assert all(torch.equal(plain[name], own[name]) for name in plain)


def test_it_composes_with_another_training():
    from mibench_defenses.methods.negls import NegativeLabelSmoothing

    both = Composition({"negls": NegativeLabelSmoothing(), "smoothing": Smoothing(copies=2)})
    trained = train_steps(both, WORLD)
    assert isinstance(trained.deployed, SmoothedClassifier)
    assert "smoothing.shift" in both.self_check(trained.model, trained.ctx).signals


@pytest.mark.parametrize("settings", [{"sigma": -0.1}, {"copies": 0}, {"chunk": 0}, {"aggregate": "median"}])
def test_impossible_settings_are_refused(settings: dict):
    with pytest.raises(UsageError):
        params.build(Smoothing, settings)
