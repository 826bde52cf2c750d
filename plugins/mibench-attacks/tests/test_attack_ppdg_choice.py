"""What PPDG-MI and PPDG-vanilla tune towards: the best images, as the critic too has its say about their neighbours."""

import copy
from dataclasses import replace

import pytest
import torch
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_attacks.methods.ppa import PlugAndPlay
from mibench_attacks.methods.ppdg_mi import PseudoPrivateTuning
from mibench_attacks.methods.ppdg_vanilla import PseudoPrivateVanilla
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam
from mibench_attacks.search.prior_tuning import PriorTuning
from mibench_attacks.selection import pseudo_private
from mibench_attacks.selection.pseudo_private import PseudoPrivateSelection
from mibench_attacks.views.transforms import RandomView
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from torch import nn
from torch.testing import assert_close

from mibench.api import build, freeze, generator, run_attack, seeded
from mibench.testing import TinyPrior, TinyWorld

WORLD = TinyWorld()


class Judged(TinyPrior):
    """A tiny prior with a critic that likes dark images: D(x) = 3 - 10 mean(x)."""

    @property
    def discriminator(self):
        return Dark()


class Dark(nn.Module):
    def forward(self, x_BCHW):
        return 3 - 10 * x_BCHW.mean((1, 2, 3))


class Pixels(nn.Module):
    """Stands for perceptual features: the pixels."""

    def forward(self, x_BCHW, *, side=None):
        return x_BCHW.flatten(1)


def neighbours(steps, d_weight):
    prior = freeze(Judged())
    x = prior.render(torch.randn(3, 1, 12, generator=generator("x"))).detach()
    start = torch.full((1, 1, 12), 0.2)
    search = GradientSearch(steps=steps, optimizer=adam(0.05))
    tuning = PriorTuning(tuner="pw", features=Pixels(), search=search, noise=0.0, d_weight=d_weight, steps=1, lr=0.1)
    found = tuning.neighbours(x, start, Renderer(prior, WORLD.target(), 16), generator("noise"), where="here")
    return found, prior, x, start


def test_the_loss_of_neighbours_by_hand():
    """Reference 5.1 (C): squared distance of features + d_weight softplus(-D)."""
    found, prior, x, start = neighbours(1, 2.0)
    rendered = 0.5 + torch.tensordot(start[0, 0].double(), prior.basis_WCHW.double(), dims=1)
    distances = ((rendered - x.double()) ** 2).sum((1, 2, 3))
    dislike = torch.log(1 + torch.exp(-(3 - 10 * rendered.mean())))
    assert dislike > 1  # the critic's sign matters: softplus(D) differs by |D|
    assert found.trace["loss"] == pytest.approx([(distances.mean() + 2 * dislike).item()], rel=1e-5)


def test_neighbours_please_the_critic_more_the_more_it_weighs():
    opinions = []
    for d_weight in (0.0, 10.0, 1000.0):
        found, prior, *_ = neighbours(30, d_weight)
        opinions.append(prior.discriminator(prior.render(found.variables[0])).mean())
    assert opinions[0] + 0.05 < opinions[1]
    assert opinions[1] + 0.05 < opinions[2]


def style_prior():
    with seeded("tiny stylegan"):
        model = StyleGan2Prior(z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=16)
        return freeze(model.build(channels=3, size=16))


def test_the_pseudo_private_images_are_the_best_of_the_round_before(monkeypatch):
    plain = {"draws": 1, "select_scale": (1.0, 1.0), "select_ratio": (1.0, 1.0), "select_flip": 0.0}
    ppa = plain | {"pool": 16, "candidates": 6, "final": 6, "steps": 2, "lr": 0.05}
    towards = []
    search = PriorTuning.neighbours
    monkeypatch.setattr(
        PriorTuning, "neighbours", lambda self, x, *args, **more: towards.append(x) or search(self, x, *args, **more)
    )
    tuned = build(
        PseudoPrivateTuning,
        {**ppa, "pseudo": 2, "invert_steps": 1, "tune_steps": 1, "mean_of": 20, "perceptual": "random"},
    )
    ctx = WORLD.attack_context()
    list(run_attack(tuned, [1], WORLD.target(), style_prior(), ctx))
    [alone] = run_attack(build(PlugAndPlay, ppa), [1], WORLD.target(), style_prior(), ctx)
    confidence = copy.deepcopy(WORLD.trained()).double()(alone.images_NCHW.double()).softmax(1)[:, 1]
    order = confidence.argsort(descending=True)
    assert confidence[order[1]] - confidence[order[2]] > 1e-4
    assert_close(towards[0].clamp(0, 1), alone.images_NCHW[order[:2]], atol=1e-5, rtol=0)


def test_ppdg_vanilla_keeps_the_images_whose_views_the_target_likes_best(monkeypatch):
    """The views are mirror images here, by which the host does not order, so that its first ones are others."""
    monkeypatch.setattr(pseudo_private, "VIEW", RandomView(scale=(1.0, 1.0), flip=1.0))
    host = {"prior": "dcgan/smoke", "restarts": 6, "final": 2, "steps": 2, "batch_ref": 5}
    monkeypatch.setitem(GenerativeInversion.presets, "smoke", host)
    made, given = {}, []
    invert = GenerativeInversion.reconstruct

    def watched(self, label, *args):
        result = invert(self, label, *args)
        made.setdefault(label, result.images_NCHW)  # of the first round
        return result

    monkeypatch.setattr(GenerativeInversion, "reconstruct", watched)
    ctx = replace(WORLD.attack_context(), train_prior=lambda prior, images, *_: given.append(images) or prior)
    attack = PseudoPrivateVanilla(
        host_preset="smoke", selection=PseudoPrivateSelection(candidates=6, keep=2, draws=2), tune_steps=1
    )
    attack.prepare(WORLD.target(), freeze(Judged()), ctx)
    pixels = given[0].all_images()[len(ctx.public) :].view(4, 2, 3, 16, 16)
    target, leading = copy.deepcopy(WORLD.trained()).double(), 0
    for label in range(4):
        order = target(made[label].flip(-1).double()).softmax(1)[:, label].argsort(descending=True)
        assert_close(pixels[label], made[label][order[:2]], atol=0.51 / 255, rtol=0)
        leading += order[:2].tolist() == [0, 1]
    assert leading < 4
