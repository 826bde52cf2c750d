"""GMI: its contract, its path against float64, what it does to a target."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_attacks.search.latent_search import PointSearch
from mibench_models.priors.dcgan.component import DcganPrior
from torch import nn
from torch.testing import assert_close

from mibench.api import Ledger, Prior, UsageError, freeze, run_attack, seeded
from mibench.api.params import build, canonical
from mibench.testing import AttackContract
from mibench.testing.tiny_parts import TinyPrior
from mibench.testing.tiny_world import TinyWorld

SETTINGS = {"restarts": 5, "final": 3, "steps": 4, "batch_ref": 5, "batch": 2}
WORLD = TinyWorld()


def dcgan(world: TinyWorld = WORLD) -> Prior:
    """An untrained generator; its last layer is louder, so that images differ."""
    with seeded("dcgan"):
        prior = DcganPrior(z_dim=6, width=4).build(channels=world.channels, size=world.size)
    prior.generator.image[0].weight.data *= 20
    return freeze(prior)


class JudgedPrior(TinyPrior):
    """A linear prior with a critic that likes dark images."""

    @property
    def discriminator(self) -> nn.Module:
        return Dark()


class Dark(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return -x_BCHW.mean((1, 2, 3))


class TestGmi(AttackContract):
    component = GenerativeInversion
    settings = SETTINGS

    def prior(self) -> Prior:
        return dcgan(self.world)


class TestAlignedGreyGmi(TestGmi):
    settings: ClassVar = dict(SETTINGS, align="taa", n_aug=2, loss="max_margin", realism="logit")
    world = TinyWorld(channels=1)


def attack(made, classes=(1,), prior=None, seed=0):
    target, ctx = WORLD.target(), WORLD.attack_context(seed=seed)
    return list(run_attack(made, classes, target, prior or dcgan(), ctx)), target


def made(**settings):
    return build(GenerativeInversion, SETTINGS | settings)


def test_the_path_is_that_of_the_paper_and_does_not_see_its_batch():
    """``v' = m v - lr g; z += -m v + (1 + m) v'; clamp``, with the gradient of the sum over the batch of reference."""
    rng, target_Z = np.random.default_rng(0), np.linspace(-2, 2, 4)
    curvature = rng.random(4) + 0.5
    search = PointSearch(restarts=6, steps=25, lr=0.3, momentum=0.9, batch_ref=3, clip=1.0)

    def loss(z_BZ, rows, step):
        return (torch.tensor(curvature) / 2 * (z_BZ.double() - torch.tensor(target_Z)) ** 2).sum(1)

    ctx = WORLD.attack_context()
    found = search.find(1, 4, loss, ctx, batch=6, ledger=Ledger()).z_NZ
    z = torch.randn(6, 4, generator=ctx.rng("class", 1, "start")).double().numpy()
    v = np.zeros_like(z)
    for _ in range(25):
        v_new = 0.9 * v - 0.3 / 3 * curvature * (z - target_Z)
        z = np.clip(z - 0.9 * v + 1.9 * v_new, -1, 1)
        v = v_new
    np.testing.assert_allclose(found, z, atol=1e-5)
    assert (np.abs(z) < 1).any() and (np.abs(z) == 1).any()
    for batch in (1, 4):
        assert_close(search.find(1, 4, loss, ctx, batch=batch, ledger=Ledger()).z_NZ, found, atol=0, rtol=0)


def test_the_batch_changes_no_image():
    (whole,), _ = attack(made(steps=20, batch=60))
    (single,), _ = attack(made(steps=20, batch=1))
    assert_close(whole.images_NCHW, single.images_NCHW, atol=1e-4, rtol=0)
    assert_close(whole.trace["loss"], single.trace["loss"], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"align": "paa", "n_aug": 3}])
def test_the_ledger_equals_the_formula(settings):
    _, target = attack(made(**settings), [0, 2])
    assert vars(target.ledger) == dict(made(**settings).cost(2))
    copies = 3 if settings else 1
    gradients = 2 * 5 * 4 * copies
    assert dict(made(**settings).cost(2)) == {"forward": gradients + 10, "backward": gradients, "render": 2 * 5 * 5}


def test_a_run_of_the_paper_costs_what_the_reference_says():
    cost = GenerativeInversion().cost(1)
    assert cost["backward"] == 5 * 1500
    assert build(GenerativeInversion, GenerativeInversion.presets["ked-mi"]).cost(1)["backward"] == 5 * 2400


def test_the_loss_is_the_critic_and_a_hundred_cross_entropies():
    prior, ctx, target = freeze(JudgedPrior()), WORLD.attack_context(), WORLD.target()
    one = made(restarts=1, final=1, steps=1)
    (result,) = run_attack(one, [2], target, prior, ctx)
    z = torch.randn(1, 12, generator=ctx.rng("class", 2, "start"))
    x = prior.render(prior.to_latent(z))
    logits = WORLD.target().logits(x)[0].double().numpy()
    expected = x.mean().item() + 100 * (np.log(np.exp(logits).sum()) - logits[2])
    assert result.trace["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_it_beats_its_start_and_best_comes_first():
    judge = WORLD.target()
    start, end = (attack(made(steps=steps, lr=0.05, final=3), range(4))[0] for steps in (0, 60))
    confidence = [
        sum(judge.logits(r.images_NCHW).softmax(1)[:, r.label].mean().item() for r in results) / 4
        for results in (start, end)
    ]
    assert confidence[1] > confidence[0] + 0.1
    for result in end:
        assert result.trace["loss"][-1] < result.trace["loss"][0]
        assert_close(judge.logits(result.images_NCHW).softmax(1)[:, result.label], result.scores_N)


def test_the_critic_pulls():
    prior, alone = freeze(JudgedPrior()), {"id_weight": 0.0, "final": 5, "steps": 10}
    start, end = (
        attack(made(lr=lr, **alone), prior=prior)[0][0].images_NCHW.mean((1, 2, 3)).mean() for lr in (1e-9, 50.0)
    )
    assert end < start - 0.05


def test_a_prior_without_a_discriminator_is_refused():
    with pytest.raises(
        UsageError, match=r"needs a prior with a discriminator, and TinyPrior has none. Set gmi.prior=dcgan"
    ):
        attack(made(), prior=WORLD.prior())


def test_presets_and_prior_choice():
    assert made().prior_choice() == "dcgan"
    for name, settings in GenerativeInversion.presets.items():
        preset = build(GenerativeInversion, settings)
        assert build(GenerativeInversion, canonical(preset)) == preset
        # a bare name would take the small prior of a protocol that has a preset for it
        wanted = {"mnist": "dcgan/mnist", "small": "dcgan/small"}
        wanted |= dict.fromkeys(("ked-mi", "ppdg"), "dcgan/ked-mi")
        assert canonical(preset)["prior"] == wanted.get(name, "dcgan/paper")
        if name == "small":
            assert preset.selection.final == 6
            assert 24 * preset.search.restarts * preset.search.steps <= 30_000
    with pytest.raises(UsageError, match="final <= restarts"):
        made(final=6)
