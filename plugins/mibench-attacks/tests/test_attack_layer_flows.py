"""Flows on the layers of a prior, and one coupling step by hand."""

import math

import numpy as np
import pytest
import torch
from mibench_attacks.latents import flows
from mibench_attacks.latents.layer_flows import LayerFlows
from torch.testing import assert_close

from mibench.api import generator
from mibench.testing.tiny_parts import TinyPrior

CPU = torch.device("cpu")


class Scaled(TinyPrior):
    """A prior whose layer l multiplies the noise by l + 1."""

    def __init__(self, layers):
        super().__init__(noise_size=5)
        self.latent_layers = layers

    def to_latent(self, z_BZ, *, truncation=1.0, cutoff=None):
        return torch.stack([(layer + 1) * z_BZ for layer in range(self.latent_layers)], 1)


def test_one_step_by_hand():
    """x -> permute(exp(s) x + b), then net(first half) is added to the second half; in numpy."""
    rng = generator("hand")
    parameters = flows.initial_parameters(1, 1, 5, 4, rng)
    parameters = [value + 0.5 * torch.randn(value.shape, generator=rng) for value in parameters]
    order, x = flows.permutations(1, 5, rng), torch.randn(3, 1, 5, generator=rng)
    log_scale, shift, into, hidden_shift, out, out_shift = (value[0, 0, 0].double().numpy() for value in parameters)
    moved = (x[:, 0].double().numpy() * np.exp(log_scale) + shift)[:, order[0].numpy()]
    hidden = np.maximum(moved[:, :2] @ into + hidden_shift, 0)
    expected = np.concatenate([moved[:, :2], moved[:, 2:] + hidden @ out + out_shift], axis=1)
    found, log_determinant = flows.forward(x, parameters, order)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    assert log_determinant.item() == pytest.approx(log_scale.sum(), abs=1e-5)


def test_permutations_are_permutations_and_differ():
    order = flows.permutations(6, 9, generator("order"))
    assert torch.equal(order.sort(1).values, torch.arange(9).expand(6, 9))
    assert len({tuple(row.tolist()) for row in order}) == 6


def test_the_number_of_parameters_of_a_flow():
    parameters = flows.initial_parameters(2, 3, 5, 4, generator("count"))
    # per step: scale and shift of 5, a net from 2 to 4 to 3 with shifts
    assert sum(value.numel() for value in parameters) == 2 * 3 * (5 + 5 + 2 * 4 + 4 + 4 * 3 + 3)
    assert all(value.shape[:3] == (1, 2, 3) for value in parameters)


@pytest.mark.parametrize(("asked", "layers", "made"), [(2, 3, 2), (10, 3, 3), (10, 1, 1)])
def test_there_are_no_more_flows_than_the_prior_has_layers(asked, layers, made):
    prior = Scaled(layers)
    found = LayerFlows(layers=asked, steps=2, hidden=3).begin(prior, generator("begin"), CPU)
    assert found.start[0].shape == (1, made, 2, 5)
    latents, kl = found.sample(found.start, 6, generator("sample"))
    assert latents.shape == (6, layers, 5)
    assert_close(kl, torch.zeros(made), atol=1e-5, rtol=0)


def test_untrained_flows_draw_permuted_noise_in_their_own_layers():
    prior = Scaled(3)
    found = LayerFlows(layers=2, steps=1, hidden=3).begin(prior, generator("begin"), CPU)
    latents, _ = found.sample(found.start, 4, generator("sample"))
    rng = generator("sample")
    base, shared = torch.randn(4, 2, 5, generator=rng), prior.sample(4, rng)
    (order,) = found.order_FZ
    assert_close(latents[:, 0], base[:, 0][:, order])
    assert_close(latents[:, 1], 2 * base[:, 1][:, order])
    assert_close(latents[:, 2], 3 * shared)


def test_samples_carry_gradients_to_every_parameter_of_their_flow():
    prior = Scaled(2)
    begin = LayerFlows(layers=2, steps=2, hidden=8).begin(prior, generator("begin"), CPU)
    rng = generator("moved")
    variables = [(value + 0.1 * torch.randn(value.shape, generator=rng)).requires_grad_(True) for value in begin.start]
    latents, kl = begin.sample(variables, 16, generator("sample"))
    gradients = torch.autograd.grad(latents[:, 0].square().sum() + kl[0], variables)
    for gradient in gradients:
        assert gradient[0, 0].abs().sum() > 0
        assert gradient[0, 1].abs().sum() == 0  # the other layer's flow has no part in it


def test_the_divergence_of_a_wide_flow_from_samples():
    """KL(N(0, s^2) || N(0, 1)) = (s^2 - 1) / 2 - log s in each dimension."""
    prior = Scaled(1)
    found = LayerFlows(layers=1, steps=1, hidden=2).begin(prior, generator("begin"), CPU)
    wide = [found.start[0] + math.log(1.5), *found.start[1:]]
    _, kl = found.sample(wide, 100_000, generator("sample"))
    assert kl.item() == pytest.approx(5 * ((1.5**2 - 1) / 2 - math.log(1.5)), rel=0.02)
