"""The variational head against torch's distributions and plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mibench_defenses.methods.mid import MutualInformationRegularisation, VibHead, divergence
from mibench_models.torchvision_zoo import ResNet18
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cross_entropy

from mibench.api import Outputs, UsageError, generator, params, seeded
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()


class TestContract(DefenseContract):
    component = MutualInformationRegularisation


class TestContractOfSampling(DefenseContract):
    component = MutualInformationRegularisation
    settings = MutualInformationRegularisation.presets["atat-paper"]
    randomised = True


class TestContractOfAnOwnBottleneck(DefenseContract):
    component = MutualInformationRegularisation
    settings = {"beta": 0.0, "bottleneck": 3}  # noqa: RUF012


def head(*, sample: bool = False) -> VibHead:
    with seeded("vib head"):
        return VibHead(10, 4, 3, sample=sample)


def features(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 10, generator=generator("features"))


def silence(vib: VibHead) -> VibHead:
    """Push s so far down that sigma is at its lower bound."""
    with torch.no_grad():
        vib.encode.weight[4:] = 0
        vib.encode.bias[4:] = -200
    return vib


def by_hand(vib: VibHead, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return mu and sigma in float64."""
    weight, bias = vib.encode.weight.detach().double().numpy(), vib.encode.bias.detach().double().numpy()
    encoded = x.double().numpy() @ weight.T + bias
    return encoded[:, :4], np.log1p(np.exp(encoded[:, 4:] - 5))


def test_divergence_of_the_standard_normal_is_zero():
    assert torch.equal(divergence(torch.zeros(5, 7), torch.ones(5, 7)), torch.zeros(5))


def test_divergence_equals_torch_distributions():
    rng = generator("kl")
    mu = 3 * torch.randn(32, 9, generator=rng, dtype=torch.float64)
    sigma = torch.rand(32, 9, generator=rng, dtype=torch.float64) * 2 + 1e-6
    expected = kl_divergence(Normal(mu, sigma), Normal(torch.zeros_like(mu), torch.ones_like(sigma))).sum(1)
    torch.testing.assert_close(divergence(mu, sigma), expected, rtol=1e-12, atol=1e-12)
    assert (expected > 0).all()


def test_loss_is_mean_cross_entropy_plus_beta_times_the_mean_divergence():
    vib, x, y = head().train(), features(), torch.tensor([0, 1, 2, 0, 1, 2])
    with seeded("noise"):
        logits = vib(x)
    with seeded("noise"):
        noise = torch.randn(6, 4).double().numpy()
    mu, sigma = by_hand(vib, x)
    weight, bias = (p.detach().double().numpy() for p in vib.classify.parameters())
    z = (mu + sigma * noise) @ weight.T + bias
    nll = np.log(np.exp(z).sum(1)) - z[np.arange(6), y.numpy()]
    kl = 0.5 * (mu**2 + sigma**2 - 1 - 2 * np.log(sigma)).sum(1)
    loss = MutualInformationRegularisation(beta=0.3).loss(Outputs(logits, x, extra=vib.extra), y, WORLD.context())
    assert loss.item() == pytest.approx(nll.mean() + 0.3 * kl.mean(), rel=1e-5)
    spread = np.sqrt(mu.var(0).mean())
    assert vib.extra["noise_ratio"].item() == pytest.approx(np.sqrt((sigma**2).mean()) / spread, rel=1e-5)


def test_without_noise_it_is_a_plain_head_of_two_layers():
    vib, x = silence(head()).train(), features()
    with seeded("noise"):
        logits = vib(x)
    mu, _ = by_hand(vib, x)
    weight, bias = (p.detach().double().numpy() for p in vib.classify.parameters())
    np.testing.assert_allclose(logits.detach().numpy(), mu @ weight.T + bias, atol=1e-5)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    loss = MutualInformationRegularisation(beta=0.0).loss(Outputs(logits, x, extra=vib.extra), y, WORLD.context())
    assert torch.equal(loss, cross_entropy(logits, y))


def test_a_vanishing_sigma_gives_finite_loss_and_gradients():
    vib = silence(head()).train()
    logits = vib(features())
    (logits.sum() + vib.extra["kl"]).backward()
    assert vib.extra["kl"].isfinite()
    assert all(p.grad.isfinite().all() for p in vib.parameters())


@pytest.mark.parametrize(
    ("sample", "training", "noisy"), [(True, False, True), (False, False, False), (False, True, True)]
)
def test_when_it_draws_noise(sample: bool, training: bool, noisy: bool):
    vib, x = head(sample=sample).train(training), features()
    assert torch.equal(vib(x), vib(x)) is not noisy


def test_sampled_answers_average_to_the_mean_answer():
    x = features(1)
    mean, sampled = head().eval()(x), head(sample=True).eval()
    with torch.no_grad(), seeded("many"):
        average = sampled(x.expand(20000, -1)).mean(0)
    torch.testing.assert_close(average, mean[0], atol=2e-3, rtol=0)


def test_classifier_still_tells_classes_and_features():
    before = WORLD.classifier()
    sizes = before.num_classes, before.feature_dim
    model = MutualInformationRegularisation().build(before, WORLD.context())
    assert (model.num_classes, model.feature_dim) == sizes
    assert model.head.encode.out_features == 2 * (sizes[1] // 2)


def test_auxiliary_heads_get_cross_entropy_only():
    logits, y = torch.randn(6, 3, generator=generator("aux")), torch.tensor([0, 1, 2, 0, 1, 2])
    extra = {"kl": torch.tensor(5.0)}
    loss = MutualInformationRegularisation(beta=0.1).loss(
        Outputs(logits, logits, aux=[(2 * logits, 0.4)], extra=extra), y, WORLD.context()
    )
    torch.testing.assert_close(loss, cross_entropy(logits, y) + 0.4 * cross_entropy(2 * logits, y) + 0.5)


def test_another_head_defense_is_refused():
    model = MutualInformationRegularisation().build(WORLD.classifier(), WORLD.context())
    with pytest.raises(UsageError, match="no other head defense"):
        MutualInformationRegularisation().build(model, WORLD.context())


def test_the_divergence_falls_and_noise_rises_with_beta():
    runs = [train_steps(MutualInformationRegularisation(beta=beta), WORLD, epochs=12) for beta in (0.0, 0.003, 0.1)]
    kl = [run.ctx.history[-1]["kl"] for run in runs]
    assert kl == sorted(kl, reverse=True)
    noise = [run.ctx.history[-1]["noise_ratio"] for run in runs]
    assert noise == sorted(noise)
    verdicts = [MutualInformationRegularisation(beta=0.1).self_check(run.model, run.ctx) for run in runs]
    assert [verdict.active for verdict in verdicts] == [False, False, True]
    assert verdicts[2].signals["kl"] < verdicts[2].signals["kl_first"]


@pytest.mark.parametrize(
    ("beta", "row", "active"),
    [
        (0.003, {"kl": 20.0, "kl_share": 0.1, "noise_ratio": 0.7}, True),
        (0.003, {"kl": 20.0, "kl_share": 0.1, "noise_ratio": 0.03}, False),
        (0.0, {"kl": 20.0, "kl_share": 0.0, "noise_ratio": 0.7}, False),
        (0.003, {"kl": math.inf, "kl_share": 1.0, "noise_ratio": 0.7}, False),
    ],
)
def test_self_check(beta: float, row: dict, active: bool):
    ctx = WORLD.context()
    ctx.history = [row]
    assert MutualInformationRegularisation(beta=beta).self_check(WORLD.classifier(), ctx).active is active


def test_self_check_before_training_is_inactive():
    assert not MutualInformationRegularisation().self_check(WORLD.classifier(), WORLD.context()).active


def test_a_step_on_resnet18():
    world = TinyWorld(size=64, channels=1)
    defense = MutualInformationRegularisation()
    with seeded("resnet"):
        model = defense.build(ResNet18().build(num_classes=4, channels=1, size=64), world.context()).train()
        step = defense.training_step(model, *world.batch(4), world.context())
    step.loss.backward()
    assert model.head.encode.weight.shape == (512, 512)
    assert model.head.encode.weight.grad.ne(0).any()
    assert 0 < step.signals["kl_share"] < 1


def test_other_values_are_refused():
    for wrong in ({"beta": -1}, {"bottleneck": 0}, {"deployed": "both"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            params.build(MutualInformationRegularisation, wrong)
