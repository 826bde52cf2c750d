"""VMI: the contract, and flows against autograd's Jacobian and a Gaussian whose divergence is known."""

import math
from dataclasses import astuple

import pytest
import torch
from mibench_attacks.latents import flows
from mibench_attacks.latents.layer_flows import PriorFlows
from mibench_attacks.methods.vmi import VariationalInversion
from torch.testing import assert_close

from mibench.api import generator, run_attack
from mibench.api.params import build
from mibench.testing import AttackContract
from mibench.testing.tiny_parts import TinyPrior
from mibench.testing.tiny_world import TinyWorld

TINY = {"steps": 3, "samples": 5, "final": 3, "flows": 2, "hidden": 8, "optimizer": "adam", "lr": 0.05, "batch": 2}
LAYERED = {**TINY, "identity_layers": 2, "optimizer": "sgd", "align": "taa", "n_aug": 2}


class Layered(TinyPrior):
    """A prior with three layers, of which each shows in an image with another weight."""

    def __init__(self, channels=3, size=16):
        super().__init__(channels, size)
        self.latent_layers = 3

    def to_latent(self, z_BZ, *, truncation=1.0, cutoff=None):
        return torch.stack([z_BZ, 2 * z_BZ, 3 * z_BZ], 1)

    def render(self, latent_BLW, *, start=0, carry=None):
        return super().render(latent_BLW.mean(1, keepdim=True))


class TestOnOneLayer(AttackContract):
    component = VariationalInversion
    settings = TINY
    world = TinyWorld(channels=1)


class TestOnLayers(AttackContract):
    component = VariationalInversion
    settings = LAYERED

    def prior(self):
        return Layered(self.world.channels, self.world.size).eval()


def made_up(count, steps, width, hidden=6):
    rng = generator("flow", width)
    parameters = [value.double() for value in flows.initial_parameters(count, steps, width, hidden, rng)]
    moved = [value + 0.3 * torch.randn(value.shape, generator=rng, dtype=torch.float64) for value in parameters]
    return moved, flows.permutations(steps, width, rng)


@pytest.mark.parametrize("width", [1, 4, 5])
def test_flows_are_inverted_exactly_and_know_their_volume(width):
    parameters, order = made_up(2, 3, width)
    x = torch.randn(4, 2, width, generator=generator("x"), dtype=torch.float64)
    y, log_determinant = flows.forward(x, parameters, order)
    assert_close(flows.inverse(y, parameters, order), x, rtol=0, atol=1e-12)
    for flow in range(2):
        alone = [value[:, flow : flow + 1] for value in parameters]
        for row in x[:, flow]:
            jacobian = torch.autograd.functional.jacobian(
                lambda v, alone=alone: flows.forward(v[None, None], alone, order)[0][0, 0], row
            )
            assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_determinant[flow], rtol=0, atol=1e-12)


def test_flows_begin_as_permutations_without_divergence():
    rng = generator("begin")
    parameters, order = flows.initial_parameters(2, 3, 6, 8, rng), flows.permutations(3, 6, rng)
    x = torch.randn(7, 2, 6, generator=rng)
    y, log_determinant = flows.forward(x, parameters, order)
    assert_close(y.sort().values, x.sort().values, rtol=0, atol=0)
    assert not torch.equal(y, x)
    assert_close(flows.kl_to_normal(x, y, log_determinant), torch.zeros(2), rtol=0, atol=1e-6)


def test_the_divergence_of_a_scaled_and_shifted_normal_is_the_known_one():
    """KL(N(b, s^2) || N(0, 1)) = (s^2 + b^2 - 1) / 2 - log s, in each of 3 dimensions."""
    scale, shift = 0.6, 0.8
    parameters = [value.double() for value in flows.initial_parameters(1, 1, 3, 2, generator("kl"))]
    parameters[0] += math.log(scale)
    parameters[1] += shift
    base = torch.randn(200_000, 1, 3, generator=generator("base"), dtype=torch.float64)
    made, log_determinant = flows.forward(base, parameters, torch.arange(3)[None])
    known = 3 * ((scale**2 + shift**2 - 1) / 2 - math.log(scale))
    assert flows.kl_to_normal(base, made, log_determinant).item() == pytest.approx(known, abs=0.01)


def test_identity_layers_have_flows_and_the_others_share_a_sample_of_the_prior():
    prior = Layered().eval()
    rng = generator("layers")
    parameters = flows.initial_parameters(2, 1, prior.noise_size, 4, rng)
    parameters[1][0, 0] += 100.0  # the first flow is shifted, the second is not
    order = flows.permutations(1, prior.noise_size, rng)
    latents, kl = PriorFlows(prior, order, parameters).sample(parameters, 50, rng)
    assert latents.shape == (50, 3, prior.noise_size)
    assert latents[:, 0].mean().item() == pytest.approx(100, abs=0.5)
    assert latents[:, 1].std().item() == pytest.approx(2, rel=0.1)
    assert latents[:, 2].std().item() == pytest.approx(3, rel=0.1)
    assert abs(torch.corrcoef(torch.stack([latents[:, 1].flatten(), latents[:, 2].flatten()]))[0, 1]) < 0.15
    assert kl[0] > 1000
    assert abs(kl[1]) < 1e-3


def attack(**more):
    world = TinyWorld()
    made = build(VariationalInversion, {**TINY, "final": 40, **more})
    [result] = run_attack(made, [2], world.target(), world.prior(), world.attack_context())
    return result


def test_fitting_raises_the_confidence_of_samples_and_the_divergence_holds_them_back():
    before, after, held = attack(steps=0), attack(steps=60, samples=16), attack(steps=60, samples=16, gamma=100.0)
    assert after.scores_N.mean() > 1.5 * before.scores_N.mean()
    assert held.scores_N.mean() < (before.scores_N.mean() + after.scores_N.mean()) / 2
    assert after.trace["loss"][-1] < after.trace["loss"][0]


def test_the_batch_size_changes_nothing():
    assert_close(attack(batch=100).images_NCHW, attack(batch=3).images_NCHW, rtol=0, atol=1e-6)


def test_published_figures_and_small_costs():
    paper = build(VariationalInversion, VariationalInversion.presets["paper"])
    assert (*astuple(paper.search)[1:], paper.objective.gamma) == (1e-4, 0.9, 4867, 64, 1e-3)
    assert (paper.search.optimizer, paper.flow.steps, paper.selection.final, paper.flow.layers) == ("sgd", 10, 100, 10)
    assert build(VariationalInversion, VariationalInversion.presets["small"]).cost(24)["backward"] <= 30_000


def test_the_whole_loss_by_hand(monkeypatch):
    """Reference 10: the mean cross-entropy of samples of q, plus gamma times the mean divergence over the layers."""
    scale, shift, gamma = (0.5, 1.5), (0.3, -0.4), 0.3

    def moved(*settings):
        parameters = flows.initial_parameters(*settings)
        parameters[0] += torch.tensor(scale).log().view(1, 2, 1, 1)
        parameters[1] += torch.tensor(shift).view(1, 2, 1, 1)
        return parameters

    monkeypatch.setattr("mibench_attacks.latents.layer_flows.initial_parameters", moved)
    monkeypatch.setattr(
        "mibench_attacks.latents.layer_flows.permutations", lambda steps, width, rng: torch.arange(width)[None]
    )
    world, prior = TinyWorld(), Layered().eval()
    made = build(VariationalInversion, {**TINY, "steps": 1, "flows": 1, "identity_layers": 2, "gamma": gamma})
    ctx, target = world.attack_context(), world.trained().double()
    [result] = run_attack(made, [2], world.target(), prior, ctx)

    rng = ctx.rng("class", 2, "samples", 0)
    base = torch.randn(5, 2, prior.noise_size, generator=rng).double()
    shared = prior.sample(5, rng).double()
    own = [scale[layer] * base[:, layer] + shift[layer] for layer in range(2)]
    mean_latent = (1 * own[0] + 2 * own[1] + 3 * shared) / 3
    x = (0.5 + torch.tensordot(mean_latent, prior.basis_WCHW.double(), dims=1)).clamp(0, 1)
    cross_entropy = -target(x).log_softmax(1)[:, 2].mean()
    divergences = [
        ((own[layer] ** 2 - base[:, layer] ** 2) / 2).sum(1).mean() - prior.noise_size * math.log(scale[layer])
        for layer in range(2)
    ]
    truth = cross_entropy + gamma * sum(divergences) / 2
    assert gamma * sum(divergences) > 0.5
    assert result.trace["loss"] == pytest.approx([truth.item()], rel=1e-5)
