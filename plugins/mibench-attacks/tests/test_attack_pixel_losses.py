"""DeepInversion's loss and stages, and the penalties on pixels, against numpy in float64."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from mibench_attacks.losses.deep_inversion import DeepInversionObjective
from mibench_attacks.losses.pixel_priors import batchnorm_distance, mean_norm, total_variation
from mibench_attacks.methods.deep_inversion import CoarseToFine, DeepInversion
from torch import nn
from torch.nn import Parameter
from torch.testing import assert_close

from mibench.api import Access, Classifier, TargetView, generator, run_attack
from mibench.api.params import build
from mibench.testing import TinyWorld


def pixels(*shape):
    return torch.rand(shape, generator=generator("pixel losses"), dtype=torch.float64) - 0.5


def batchnorm_target(side):
    """A linear target behind one BatchNorm layer with statistics of its own, in float64."""
    body = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(2), flat=nn.Flatten(), fc=nn.Linear(2 * side * side, 3)))
    body = body.double().eval()
    rng = generator("batchnorm")
    body.norm.running_mean.copy_(torch.randn(2, generator=rng))
    body.norm.running_var.copy_(torch.rand(2, generator=rng) + 0.5)
    body.fc.weight.data = torch.randn(body.fc.weight.shape, generator=rng, dtype=torch.float64)
    body.fc.bias.data.zero_()
    made = Classifier(body, head="fc", stage_names=[], mean=[0.0] * 2, std=[1.0] * 2, channels=2)
    return TargetView(made, Access.WHITE_BOX), body


def total_by_hand(u, body, objective, label):
    """The whole loss of a batch, in numpy."""
    x = 0.5 + objective.unit * u
    mean, var = body.norm.running_mean.numpy(), body.norm.running_var.numpy()
    own = np.moveaxis(x, 1, 0).reshape(2, -1)
    distance = np.linalg.norm(own.mean(1) - mean) + np.linalg.norm(own.var(1) - var)
    seen = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + body.norm.eps)
    logits = seen.reshape(len(x), -1) @ body.fc.weight.detach().numpy().T
    cross_entropy = np.mean(np.log(np.exp(logits).sum(1)) - logits[:, label])
    steps = (u[..., 1:, :] - u[..., :-1, :], u[..., 1:] - u[..., :-1])
    steps += (u[..., 1:, 1:] - u[..., :-1, :-1], u[..., 1:, :-1] - u[..., :-1, 1:])
    variation = sum(np.sqrt((step**2).sum()) for step in steps)
    norm = np.mean([np.sqrt((one**2).sum()) for one in u])
    weighted = objective.r_feat * objective.first_bn * distance + objective.a_tv * variation + objective.a_l2 * norm
    return cross_entropy + weighted


@pytest.mark.parametrize("shrink", [1, 2])
def test_the_loss_at_full_and_at_half_size(shrink):
    objective = DeepInversionObjective(r_feat=0.4, first_bn=3.0, a_tv=0.2, a_l2=0.1, unit=0.3)
    u = pixels(5, 2, 4, 4)
    target, body = batchnorm_target(4 // shrink)
    seen = u.numpy() if shrink == 1 else u.numpy().reshape(5, 2, 2, 2, 2, 2).mean((3, 5))
    expected = total_by_hand(seen, body, objective, 2)
    assert objective.loss(u, 2, target, shrink=shrink).item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    objective = DeepInversionObjective(r_feat=0.4, first_bn=3.0, a_tv=0.2, a_l2=0.1, unit=0.3)
    target, body = batchnorm_target(4)
    u = pixels(3, 2, 4, 4).requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective.loss(u, 1, target), u)
    along = torch.randn(u.shape, generator=generator("direction"), dtype=torch.float64)
    ahead, behind = (total_by_hand((u + sign * 1e-6 * along).detach().numpy(), body, objective, 1) for sign in (1, -1))
    assert (gradient * along).sum().item() == pytest.approx((ahead - behind) / 2e-6, rel=1e-4)


def test_images_of_a_batch_are_moved_together_and_by_at_most_the_jitter():
    objective, u = DeepInversionObjective(jitter=2, flip=0.5), torch.arange(36.0).view(1, 1, 6, 6).expand(3, 1, 6, 6)
    moves = set()
    for draw in range(200):
        moved = objective.moved(u, generator("moves", draw))
        assert torch.equal(moved, moved[:1].expand_as(moved))
        found = [
            (down, right, mirrored)
            for down in range(-2, 3)
            for right in range(-2, 3)
            for mirrored in (False, True)
            if torch.equal(
                moved, u.roll((down, right), (-2, -1)).flip(-1) if mirrored else u.roll((down, right), (-2, -1))
            )
        ]
        assert len(found) == 1
        moves |= set(found)
    assert len(moves) == 50  # every shift, mirrored and not


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_without_jitter_only_mirrors_are_left(flip):
    u = pixels(2, 1, 4, 4)
    moved = DeepInversionObjective(jitter=0, flip=flip).moved(u, generator("mirror"))
    assert torch.equal(moved, u.flip(-1) if flip else u)


def test_bounds_are_those_of_possible_images():
    objective = DeepInversionObjective(unit=0.2)
    u = torch.tensor([-9.0, -2.5, 0.0, 1.0, 2.5, 9.0])
    assert_close(objective.pixels(objective.clamped(u)), torch.tensor([0.0, 0.0, 0.5, 0.7, 1.0, 1.0]))


def test_both_stages_fall_along_half_a_cosine_with_the_papers_averages():
    search = CoarseToFine(steps=10, coarse_steps=20, lr=0.3, betas=(0.5, 0.9))
    coarse, fine = search.stage(2), search.stage(1)
    assert (coarse.steps, coarse.keep, fine.steps, fine.keep) == (20, "last", 10, "best")
    for stage in (coarse, fine):
        made = stage.optimizer([Parameter(torch.zeros(1))])
        assert (type(made), made.defaults["lr"], made.defaults["betas"]) == (torch.optim.Adam, 0.3, (0.5, 0.9))
        middle = [stage.schedule(step, stage.steps) for step in (0, stage.steps // 2, stage.steps)]
        assert middle == pytest.approx([1, 0.5, 0])


def test_the_first_step_of_the_attack_by_hand():
    """Adam's first step moves every pixel by the rate against the sign of its gradient, from clamped noise."""
    world = TinyWorld()
    settings = {"images": 3, "final": 3, "steps": 2, "coarse_steps": 0, "jitter": 0, "flip": 0.0, "lr": 0.1}
    attack = build(DeepInversion, settings | {"unit": 0.25, "r_feat": 0.0})
    ctx = world.attack_context()
    [result] = run_attack(attack, [1], world.target(), world.prior(), ctx)
    noise = torch.randn((1, 3, 3, 16, 16), generator=ctx.rng("class", 1, "noise"))[0].clamp(-2, 2).requires_grad_(True)
    target = world.target()
    loss = -target.logits(0.5 + 0.25 * noise).log_softmax(1)[:, 1].mean()
    loss = loss + 1e-4 * total_variation(noise) + 1e-5 * mean_norm(noise)
    (gradient,) = torch.autograd.grad(loss, noise)
    after = (noise.detach() - 0.1 * gradient.sign()).clamp(-2, 2)
    second = -target.logits(0.5 + 0.25 * after).log_softmax(1)[:, 1].mean()
    second = second + 1e-4 * total_variation(after) + 1e-5 * mean_norm(after)
    assert result.trace["loss"] == pytest.approx([loss.item(), second.item()], rel=1e-3)


def test_a_layer_that_tracks_nothing_has_no_distance():
    network = nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.BatchNorm2d(2)).eval()
    with batchnorm_distance(network) as found:
        network(torch.rand(3, 2, 4, 4))
    assert len(found) == 1


def test_hooks_go_even_if_a_pass_fails():
    network = nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match="4D input"), batchnorm_distance(network):
        network(torch.rand(3, 2))
    assert not network._forward_pre_hooks


def test_penalties_of_constant_images():
    flat = torch.full((2, 3, 5, 5), 0.3)
    assert total_variation(flat).item() == 0
    assert mean_norm(flat).item() == pytest.approx(0.3 * 75**0.5)
