"""Derivatives of ``head-model`` against differences, in float64."""

import numpy as np
import pytest
import torch
from mibench_datasets.head_model import renderer, scene
from mibench_datasets.head_model.component import HeadModelPrior
from mibench_datasets.head_model.sums import Sums, pick
from mibench_datasets.rendered_faces.head import load_head
from torch.nn.functional import avg_pool2d

from mibench.api import generator

HEAD = load_head()


def test_sums_are_a_sparse_matrix_and_its_transpose():
    rng = np.random.default_rng(0)
    to, source = rng.integers(5, size=14), rng.integers(7, size=14)
    dense = np.zeros((5, 7))
    np.add.at(dense, (to, source), 1)
    sums, x = Sums((to, source), rows=7, written=5), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(sums(x), torch.from_numpy(dense) @ x)
    assert torch.autograd.gradcheck(sums, (x,))
    assert torch.autograd.gradgradcheck(sums, (x,))


def test_picked_entries():
    table = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([4, 0, 0, 3])
    assert torch.equal(pick(table, index), table[:, index])
    assert torch.autograd.gradcheck(lambda x: pick(x, index), (table,))


def a_latent(prior, seed):
    """Return the latent of somebody whose largest group is well ahead."""
    latent = prior.to_latent(prior.sample(1, generator("latent", seed)).double()).clamp(-2, 2)  # no cuts
    group = prior.population.size - 4
    latent[0, 0, group : group + 4] = 0.0
    latent[0, 0, group + seed] = 1.0
    return latent


@pytest.mark.parametrize(("views", "seed"), [("frontal", 0), ("frontal", 1), ("free", 2), ("free", 3)])
def test_derivatives_of_colours_are_those_of_differences(views, seed, monkeypatch):
    """What each pixel shows stays the same under a small enough step, so that outlines have no part in it."""
    monkeypatch.setattr(scene, "STEEP", float("inf"))
    monkeypatch.setattr(renderer, "with_moving_edges", lambda image, *_: image)
    prior = HeadModelPrior(views=views).build(channels=3, size=24).double()
    latent = a_latent(prior, seed)
    weights = torch.randn(1, 3, 24, 24, generator=generator("weights", seed), dtype=torch.float64)
    rng = generator("direction", seed)
    groups = slice(prior.population.size - 4, prior.population.size)

    def loss(at):
        return (prior.render(at) * weights).sum()

    asked = latent.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(asked), asked)
    for _ in range(2):
        step = torch.randn(latent.shape, generator=rng, dtype=torch.float64)
        step[..., groups] = 0  # their derivative is not one of differences, by design
        measured = (loss(latent + 1e-7 * step) - loss(latent - 1e-7 * step)) / 2e-7
        assert (gradient * step).sum().item() == pytest.approx(measured.item(), rel=2e-3, abs=1e-3)


SIZES = (0.06, 0.1, 0.14, 0.18)


@pytest.mark.parametrize("slider", ["head/head-scale-horiz", "head/head-scale-vert"])
def test_derivatives_of_outlines_are_those_of_differences(slider, monkeypatch):
    """Blocks of the picture change with a slider as their derivatives say, but not without those of outlines.

    The derivative is compared along the measured change, which takes one pass.
    """
    side, blocks = 64, 4
    prior = HeadModelPrior().build(channels=1, size=side).double()
    latent = a_latent(prior, 2)
    step = torch.zeros_like(latent)
    step[0, 0, HEAD.slider_names.index(slider)] = 1

    def pooled(at):
        return avg_pool2d(prior.render(at), side // blocks)

    with torch.no_grad():  # over several pixels, as outlines move from one to the next
        moved = [(pooled(latent + s * step) - pooled(latent - s * step)) / (2 * s) for s in SIZES]
    measured = torch.stack(moved).mean(0)

    def share():
        asked = latent.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((pooled(asked) * measured).sum(), asked)
        return ((gradient * step).sum() / measured.square().sum()).item()

    assert share() == pytest.approx(1, abs=0.3)  # an estimate
    monkeypatch.setattr(renderer, "with_moving_edges", lambda image, *_: image)
    assert share() < 0.5
