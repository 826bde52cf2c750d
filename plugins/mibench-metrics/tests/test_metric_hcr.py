"""The bound against closed forms of a linear network, and where it does not apply."""

import math

import numpy as np
import pytest
import torch
from mibench_metrics.fisher_information import Released
from mibench_metrics.hcr import HammersleyChapmanRobbins
from scipy.fft import dctn
from torch import nn

from mibench.api import MibenchError, freeze, generator

SIDE = 4
D = SIDE * SIDE
SIGMA = 0.5
HCR = HammersleyChapmanRobbins


class Linear(nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def outputs(self, x, *, stages=False):
        class Made:
            features = x.flatten(1) @ self.matrix.T

        return Made


def one_image():
    return torch.rand(1, 1, SIDE, SIDE, generator=generator("hcr image"), dtype=torch.float64)


def test_of_an_orthogonal_network_every_direction_gives_the_closed_form():
    """f = s Q x: |z| = s |e|, so the squares sum to |e|^2 / (exp(s^2 |e|^2 / sigma^2) - 1), near sigma^2 / s^2."""
    q, _ = torch.linalg.qr(torch.randn(D, D, generator=generator("q"), dtype=torch.float64))
    bounds = HCR(restarts=1).bounds(Released(Linear(3 * q), "features"), one_image(), SIGMA)
    length = SIGMA / 500 * torch.randn(D, generator=generator("hcr", "direction", 0)).norm().item() / math.sqrt(D) / 3
    expected = length**2 / math.expm1((3 * length / SIGMA) ** 2)
    assert np.square(bounds).sum() == pytest.approx(expected, rel=1e-3)
    assert np.square(bounds).sum() == pytest.approx((SIGMA / 3) ** 2, rel=1e-3)


def test_of_a_linear_network_the_first_solution_is_the_closed_form():
    """f = W x: e = W^-1 z whatever the number of pits, and |z| is what was asked for."""
    w = torch.randn(D, D, generator=generator("w"), dtype=torch.float64) + 4 * torch.eye(D, dtype=torch.float64)
    bounds = HCR(restarts=1).bounds(Released(Linear(w), "features"), one_image(), SIGMA)
    z = SIGMA / 500 / math.sqrt(D) * torch.randn(1, D, generator=generator("hcr", "direction", 0))[0].double()
    shift = torch.linalg.solve(w, z).view(1, SIDE, SIDE).numpy()
    expected = np.abs(dctn(shift, axes=(1, 2), norm="ortho")) / math.sqrt(math.expm1(float(z @ z) / SIGMA**2))
    np.testing.assert_allclose(bounds, expected, rtol=1e-3, atol=1e-3 * expected.max())


def test_it_is_below_the_exact_bound_of_a_linear_network():
    """Of a linear network an unbiased estimate of mode k has a variance of at least sigma^2 (W'W)^-1 along it."""
    w = torch.randn(D, D, generator=generator("w"), dtype=torch.float64)
    bounds = HCR().bounds(Released(Linear(w), "features"), one_image(), SIGMA)
    inverse = torch.linalg.inv(w.T @ w).numpy()
    modes = np.stack([dctn(row.reshape(SIDE, SIDE), norm="ortho").ravel() for row in np.eye(D)]).T
    exact = SIGMA * np.sqrt(np.einsum("kp,pq,kq->k", modes, inverse, modes)).reshape(1, SIDE, SIDE)
    assert (bounds <= exact * (1 + 1e-3)).all()
    assert bounds.max() > 0.3 * exact.max()


def test_more_restarts_never_lower_it(world):
    function, x = Released(world.evidence.target, "features"), world.evidence.heldout.all_images()[:1]
    one, two = (HCR(restarts=number).bounds(function, x, 1.0) for number in (1, 2))
    assert (two >= one).all()


def test_where_it_does_not_apply_it_says_why(world):
    with pytest.raises(MibenchError, match="64 numbers, and it takes 10"):
        HCR(max_inputs=10).measure(world.evidence, world.ctx)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 10))
    noisy = freeze(world.classifier(nn.Sequential(body[0], body[1], Noise(), body[2]), "3"))
    with pytest.raises(MibenchError, match="two forward passes of the target differ"):
        HCR().measure(world.attacking(noisy), world.ctx)
    nn.init.zeros_(body[1].weight)
    with pytest.raises(MibenchError, match="no shift of an image that the solver found moves the features"):
        HCR().measure(world.attacking(freeze(world.classifier(body, "2"))), world.ctx)


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)
