"""DeepInversion: the contract, and each term of its loss against numpy in float64."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_attacks.losses.deep_inversion import DeepInversionObjective
from mibench_attacks.losses.pixel_priors import batchnorm_distance, mean_norm, total_variation
from mibench_attacks.methods.deep_inversion import DeepInversion
from torch import nn

from mibench.api import Access, Classifier, TargetView, UsageError, generator, run_attack
from mibench.api.params import build
from mibench.testing import AttackContract
from mibench.testing.tiny_world import TinyWorld

TINY = {"images": 4, "final": 3, "steps": 4, "coarse_steps": 2, "jitter": 2}
ONE_STAGE = {**TINY, "coarse_steps": 0}


class TestDeepInversion(AttackContract):
    component = DeepInversion
    settings = TINY


class TestGrey(AttackContract):
    component = DeepInversion
    settings = ONE_STAGE
    world = TinyWorld(channels=1)


def images(*shape):
    return torch.rand(shape, generator=generator("pixels"), dtype=torch.float64)


def test_total_variation_and_norm_agree_with_numpy():
    x = images(3, 2, 6, 6)
    a = x.numpy()
    steps = ((1, 0), (0, 1), (1, 1), (1, -1))
    want = 0.0
    for down, right in steps:
        pairs = [
            (a[:, :, i + down, j + right] - a[:, :, i, j]) ** 2
            for i in range(6)
            for j in range(6)
            if i + down < 6 and 0 <= j + right < 6
        ]
        want += np.sqrt(np.sum(pairs))
    assert total_variation(x).item() == pytest.approx(want, rel=1e-12)
    assert mean_norm(x).item() == pytest.approx(np.mean([np.sqrt((one**2).sum()) for one in a]), rel=1e-12)
    assert total_variation(torch.ones(1, 1, 4, 4)).item() == 0


def normalised_network():
    layers = OrderedDict(first=nn.BatchNorm2d(3), second=nn.BatchNorm2d(3), flat=nn.Flatten(), fc=nn.Linear(48, 5))
    body = nn.Sequential(layers).double().eval()
    rng = generator("statistics")
    for layer in (body.first, body.second):
        layer.running_mean.copy_(torch.randn(3, generator=rng))
        layer.running_var.copy_(torch.rand(3, generator=rng) + 0.5)
    return Classifier(body, head="fc", stage_names=["first"], mean=[0.5] * 3, std=[0.25] * 3)


def test_the_distance_of_statistics_agrees_with_numpy():
    network, x = normalised_network(), images(5, 3, 4, 4)
    with batchnorm_distance(network) as found:
        network(x)
    signal = (x.numpy() - 0.5) / 0.25
    for layer, distance in zip((network.body.first, network.body.second), found, strict=True):
        mean, var = layer.running_mean.double().numpy(), layer.running_var.double().numpy()
        own = np.moveaxis(signal, 1, 0).reshape(3, -1)
        want = np.sqrt(((own.mean(1) - mean) ** 2).sum()) + np.sqrt(((own.var(1) - var) ** 2).sum())
        assert distance.item() == pytest.approx(want, rel=1e-6)
        signal = (signal - mean[:, None, None]) / np.sqrt(var[:, None, None] + layer.eps)
    assert not network.body.first._forward_pre_hooks
    network(x)
    assert len(found) == 2


def test_the_loss_is_the_weighted_sum_of_its_terms_and_passes_are_counted():
    network, u = normalised_network(), images(5, 3, 4, 4) - 0.5
    target = TargetView(network, Access.WHITE_BOX)
    made = DeepInversionObjective(r_feat=0.3, first_bn=7.0, a_tv=0.2, a_l2=0.1, unit=0.5)
    x = 0.5 + 0.5 * u
    with batchnorm_distance(network) as distances:
        logits = network(x).detach().numpy()
    ce = np.mean([np.log(np.exp(row - row.max()).sum()) - row[2] + row.max() for row in logits])
    first, second = (distance.item() for distance in distances)
    want = ce + 0.3 * (7 * first + second) + 0.2 * total_variation(u).item() + 0.1 * mean_norm(u).item()
    assert made.loss(u, 2, target).item() == pytest.approx(want, rel=1e-6)
    assert target.ledger.forward == 5


def test_a_target_without_batchnorm_has_no_such_term():
    body = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).double()
    target = TargetView(Classifier(body, head="1", stage_names=[], mean=[0.5] * 3, std=[0.25] * 3), Access.WHITE_BOX)
    u = images(2, 3, 4, 4) - 0.5
    losses = [replace(DeepInversionObjective(), r_feat=weight).loss(u, 0, target).item() for weight in (0.0, 5.0)]
    assert losses[0] == losses[1]


def attack(**more):
    world = TinyWorld()
    made = build(DeepInversion, {**TINY, "jitter": 0, "flip": 0.0, **more})
    target = world.target()
    [result] = run_attack(made, [1], target, world.prior(), world.attack_context())
    assert vars(target.ledger) == dict(made.cost(1))
    return result


def test_the_target_is_convinced_and_statistics_come_closer():
    short, long = attack(steps=1, coarse_steps=0), attack(steps=60, coarse_steps=0)
    assert long.scores_N.min() > 0.8
    assert long.scores_N.mean() > short.scores_N.mean()

    def distance(result):
        network = TinyWorld().trained()
        with batchnorm_distance(network) as found, torch.no_grad():
            network(result.images_NCHW)
        return sum(found).item()

    heavy, light = attack(steps=60, r_feat=1.0, final=4), attack(steps=60, r_feat=0.0, final=4)
    assert distance(heavy) < distance(light)


def test_both_stages_are_in_the_trace():
    assert len(attack(steps=3, coarse_steps=2).trace["loss"]) == 5


def test_wrong_settings_are_explained_and_published_figures_hold():
    with pytest.raises(UsageError, match="final <= images"):
        build(DeepInversion, {"images": 3, "final": 4})
    imagenet, cifar = (build(DeepInversion, DeepInversion.presets[name]) for name in ("imagenet", "cifar10"))
    search, objective = imagenet.search, imagenet.objective
    assert (search.coarse_steps, search.steps, search.betas, objective.jitter) == (2000, 1000, (0.5, 0.9), 30)
    assert (objective.r_feat, objective.a_tv, objective.a_l2, objective.first_bn) == (0.01, 1e-4, 1e-5, 10)
    search, objective = cifar.search, cifar.objective
    assert (search.steps, search.images, search.lr, objective.r_feat, objective.a_tv) == (2000, 256, 0.05, 10, 2.5e-5)
    assert build(DeepInversion, DeepInversion.presets["small"]).cost(24)["backward"] <= 30_000
