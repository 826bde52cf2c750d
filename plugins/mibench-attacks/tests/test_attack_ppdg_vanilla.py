"""PPDG-vanilla around GMI, with a linear prior whose training moves its mean image towards what it is given."""

from dataclasses import replace

import pytest
import torch
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_attacks.methods.ppdg_vanilla import SMOKE_HOSTS, PseudoPrivateVanilla
from torch import nn
from torch.testing import assert_close

from mibench.api import UsageError, freeze, run_attack
from mibench.api.attack import _make
from mibench.api.params import build
from mibench.testing import AttackContract, TinyPrior, TinyWorld

SMALL = {"host_preset": "smoke", "candidates": 3, "keep": 2, "draws": 2, "tune_steps": 1}


class Judged(TinyPrior):
    """A tiny prior with a discriminator and a mean image that can be trained."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.shift = nn.Parameter(torch.zeros(()))

    def render(self, latent_BLW, *, start=0, carry=None):
        return super().render(latent_BLW) + self.shift

    @property
    def discriminator(self):
        return Mean()


class Mean(nn.Module):
    def forward(self, x_BCHW):
        return x_BCHW.mean((1, 2, 3))


class Trainings:
    """Stands for the stage: the mean brightness of the images becomes the shift of the prior."""

    def __init__(self):
        self.seen = []

    def __call__(self, prior, images, steps, purpose):
        self.seen.append((prior, images, steps, purpose))
        new = prior.clone()
        with torch.no_grad():
            new.shift += 0.1 * images.all_images().mean()
        return freeze(new)


class TestContract(AttackContract):
    component = PseudoPrivateVanilla
    settings = SMALL
    classes = (0, 1, 2, 3)  # what comes before the last round is done for all classes

    def prior(self):
        return freeze(Judged(self.world.channels, self.world.size))

    def context(self, seed):
        return replace(super().context(seed), train_prior=Trainings())


class TestContractAligned(TestContract):
    settings = SMALL | {"align": "taa", "n_aug": 2}  # of the host


def test_its_prior_is_the_hosts_unless_another_is_named():
    assert PseudoPrivateVanilla(host_preset="small").prior_choice() == "dcgan/small"
    assert PseudoPrivateVanilla(host_preset="small", prior="dcgan/paper").prior_choice() == "dcgan/paper"


def attacked(trainings, remember=_make, **settings):
    world = TinyWorld()
    ctx = replace(world.attack_context(), train_prior=trainings, cached=remember)
    made = build(PseudoPrivateVanilla, {**SMALL, **settings})
    prior = freeze(Judged(world.channels, world.size))
    target = world.target()
    return {found.label: found for found in run_attack(made, range(4), target, prior, ctx)}, target, prior, ctx


def test_the_best_candidates_of_every_class_join_the_public_images_between_rounds():
    trainings = Trainings()
    _, _, prior, ctx = attacked(trainings, rounds=3)
    assert [purpose for *_, purpose in trainings.seen] == ["round 0", "round 1"]
    (first, images, steps, _), (second, _, _, _) = trainings.seen
    public = len(ctx.public)
    assert len(images) == public + 4 * 2
    assert torch.equal(images.all_images()[:public], ctx.public.all_images())
    assert images.labels_N[public:].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert not set(images.labels_N[:public].tolist()) & {0, 1, 2, 3}
    assert steps == 1
    assert float(first.shift) == float(prior.shift) == 0  # the prior that was given stays as it was
    assert float(second.shift) > 0


def test_one_round_is_the_host_itself():
    found, *_ = attacked(Trainings(), rounds=1)
    world = TinyWorld()
    host = build(GenerativeInversion, SMOKE_HOSTS["gmi"])
    prior = freeze(Judged(world.channels, world.size))
    alone = run_attack(host, range(4), world.target(), prior, world.attack_context())
    for result in alone:
        assert_close(result.images_NCHW, found[result.label].images_NCHW, atol=0, rtol=0)


def test_what_led_to_the_tuned_prior_is_remembered():
    kept = {}

    def remember(name, make):
        if name not in kept:
            kept[name] = make()
        return kept[name]

    trainings = Trainings()
    first, *_ = attacked(trainings, remember)
    again, *_ = attacked(trainings, remember)
    assert len(trainings.seen) == 1
    assert all(torch.equal(first[label].images_NCHW, again[label].images_NCHW) for label in first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 4, "candidates": 3}, "keep <= candidates"),
        ({"host_preset": "smok"}, "no preset 'smok'"),
        ({"host": "ked-mi", "host_preset": "mnist"}, "choose from"),
    ],
)
def test_wrong_settings_are_explained(settings, message):
    with pytest.raises(UsageError, match=message):
        build(PseudoPrivateVanilla, {**SMALL, **settings})


@pytest.mark.parametrize("host", ["gmi", "ked-mi", "plg-mi"])
def test_every_host_makes_all_candidates_before_the_choice(host):
    made = build(PseudoPrivateVanilla, {"host": host, **SMALL})
    assert made._many().selection.final == 3  # type: ignore[attr-defined]
    assert made.prior_choice() == {"gmi": "dcgan/smoke", "ked-mi": "ked-gan/smoke", "plg-mi": "plg-cgan/smoke"}[host]
