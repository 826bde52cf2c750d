"""KED-MI: its contract, its Gaussian against float64, its loss."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_attacks.methods.ked_mi import DistributionalInversion
from mibench_attacks.search.latent_search import GaussianSearch
from mibench_models.priors.ked_gan.component import KedGanPrior
from torch.testing import assert_close

from mibench.api import Ledger, Prior, UsageError, freeze, run_attack, seeded
from mibench.api.params import build, canonical
from mibench.testing import AttackContract
from mibench.testing.tiny_world import TinyWorld

SETTINGS = {"samples": 2, "draws": 5, "final": 3, "steps": 4, "batch": 2}
WORLD = TinyWorld()
ALL = {"batch": 25, "ledger": Ledger()}


def ked_gan(world: TinyWorld = WORLD) -> Prior:
    """An untrained generator; its last layer is louder, so that images differ."""
    with seeded("ked-gan"):
        model = KedGanPrior(z_dim=6, width=4, kernels=3, kernel_size=2)
        prior = model.build(channels=world.channels, size=world.size, classes=world.classes)
    prior.generator.image[0].weight.data *= 20
    return freeze(prior)


class TestKedMi(AttackContract):
    component = DistributionalInversion
    settings = SETTINGS

    def prior(self) -> Prior:
        return ked_gan(self.world)


class TestAlignedGreyKedMi(TestKedMi):
    settings: ClassVar = dict(SETTINGS, align="paa", n_aug=2, clip_z=1.0, loss="poincare")
    world = TinyWorld(channels=1)


def attack(made, classes=(1,), prior=None):
    target, ctx = WORLD.target(), WORLD.attack_context()
    return list(run_attack(made, classes, target, prior or ked_gan(), ctx)), target


def made(**settings):
    return build(DistributionalInversion, SETTINGS | settings)


def adam(gradient, x, lr, steps):
    """Kingma and Ba's algorithm 1, in float64."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, steps + 1):
        g = gradient(x, step - 1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x - lr * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return x


def test_mean_and_variance_follow_adam_from_a_wide_gaussian():
    wanted, ctx = np.array([0.5, -1.0, 2.0]), WORLD.attack_context()
    search = GaussianSearch(samples=4, steps=15, lr=0.02, clip=0.0, draws=7)

    def eps(*purpose, rows):
        return torch.randn(rows, 3, generator=ctx.rng("class", 1, *purpose)).double().numpy()

    def gradient(x, step):  # of the mean over samples of sum (z - wanted)^2 / 2, in mu and log_var
        noise, spread = eps("eps", step, rows=4), np.exp(x[1] / 2)
        off = x[0] + spread * noise - wanted
        return np.stack([off.mean(0), (off * noise * spread / 2).mean(0)])

    found = search.find(1, 3, lambda z, rows, step: ((z - torch.tensor(wanted)) ** 2).sum(1) / 2, ctx, **ALL)
    mu, log_var = adam(gradient, np.stack([np.zeros(3), np.ones(3)]), 0.02, 15)
    np.testing.assert_allclose(found.z_NZ, mu + np.exp(log_var / 2) * eps("draws", rows=7), atol=1e-5)
    assert mu[2] > 0.2 and log_var.max() < 1


def test_clipping_is_real():
    search = GaussianSearch(samples=4, steps=3, lr=0.02, clip=0.5, draws=7)
    seen = []

    def loss(z_BZ, rows, step):
        seen.append(z_BZ.abs().max().item())
        return z_BZ.square().sum(1)

    found = search.find(1, 3, loss, WORLD.attack_context(), **ALL)
    assert max(seen) == 0.5 and found.z_NZ.abs().max() == 0.5
    wide = replace(search, clip=0.0).find(1, 3, loss, WORLD.attack_context(), **ALL)
    assert wide.z_NZ.abs().max() > 0.5


def test_the_loss_is_softplus_and_a_hundred_cross_entropies():
    prior, ctx = ked_gan(), WORLD.attack_context()
    (result,), _ = attack(made(steps=1))
    eps = torch.randn(2, 6, generator=ctx.rng("class", 1, "eps", 0))
    x = prior.render(prior.to_latent(np.exp(0.5) * eps).float())
    logits, d = WORLD.target().logits(x).double().numpy(), prior.discriminator(x).double().numpy()
    ce = np.log(np.exp(logits).sum(1)) - logits[:, 1]
    assert result.trace["loss"] == [pytest.approx((np.log1p(np.exp(d)) - d + 100 * ce).mean(), rel=1e-5)]


@pytest.mark.parametrize("settings", [{}, {"align": "taa", "n_aug": 3}])
def test_the_ledger_equals_the_formula(settings):
    _, target = attack(made(**settings), [0, 2])
    assert vars(target.ledger) == dict(made(**settings).cost(2))
    gradients = 2 * 2 * 4 * (3 if settings else 1)
    assert dict(made(**settings).cost(2)) == {"forward": gradients + 10, "backward": gradients, "render": 2 * (8 + 5)}


def test_the_batch_changes_no_image_and_draws_differ():
    (whole,), _ = attack(made(batch=100))
    (single,), _ = attack(made(batch=1))
    assert_close(whole.images_NCHW, single.images_NCHW, atol=1e-5, rtol=0)
    assert not torch.equal(whole.images_NCHW[0], whole.images_NCHW[1])


def test_it_learns():
    judge = WORLD.target()
    start, end = (attack(made(steps=steps, lr=0.1, samples=4), range(4))[0] for steps in (0, 60))
    confidence = [
        sum(judge.logits(r.images_NCHW).softmax(1)[:, r.label].mean().item() for r in results) / 4
        for results in (start, end)
    ]
    assert confidence[1] > confidence[0] + 0.1


def test_a_prior_without_a_discriminator_is_refused():
    with pytest.raises(UsageError, match=r"'ked-mi' needs a prior with a discriminator.*Set ked-mi.prior=ked-gan"):
        attack(made(), prior=WORLD.prior())


def test_presets_and_prior_choice():
    assert made().prior_choice() == "ked-gan"
    assert DistributionalInversion().cost(1)["backward"] == 1500
    for name, settings in DistributionalInversion.presets.items():
        preset = build(DistributionalInversion, settings)
        assert build(DistributionalInversion, canonical(preset)) == preset
        if name == "small":
            assert preset.selection.final == 6
            assert 24 * preset.search.samples * preset.search.steps <= 30_000
    with pytest.raises(UsageError, match="final <= draws"):
        made(final=6)
