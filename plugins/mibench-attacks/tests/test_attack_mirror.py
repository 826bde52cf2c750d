"""MIRROR: the contract, P-space and its box against numpy, and what the search promises."""

import numpy as np
import pytest
import torch
from mibench_attacks.latents.p_space import Box, to_p, to_w
from mibench_attacks.methods.mirror import Mirror
from mibench_attacks.selection.pool import CandidatePool
from torch.testing import assert_close

from mibench.api import UsageError, build, generator, run_attack
from mibench.testing import AttackContract
from mibench.testing.tiny_parts import TinyPrior
from mibench.testing.tiny_world import TinyWorld

TINY = {"pool": 20, "candidates": 4, "final": 3, "steps": 4, "batch": 3}
LATENT = {**TINY, "space": "latent", "align": "paa", "n_aug": 2}


class Styled(TinyPrior):
    """A prior with two style layers whose latents come out of a leaky ReLU, as in a StyleGAN."""

    def __init__(self, channels=3, size=16):
        super().__init__(channels, size)
        self.latent_layers = 2

    def to_latent(self, z_BZ, *, truncation=1.0, cutoff=None):
        return truncation * torch.nn.functional.leaky_relu(torch.stack([z_BZ, 0.5 * z_BZ.flip(1)], 1), 0.2)

    def render(self, latent_BLW, *, start=0, carry=None):
        return super().render(latent_BLW.mean(1, keepdim=True))


class TestInPSpace(AttackContract):
    component = Mirror
    settings = TINY

    def prior(self):
        return Styled(self.world.channels, self.world.size).eval()


class TestGreyInLatentSpace(AttackContract):
    component = Mirror
    settings = LATENT
    world = TinyWorld(channels=1)


def test_p_space_and_back_is_the_identity_and_agrees_with_numpy():
    w = torch.randn(50, 3, 7, generator=generator("w"), dtype=torch.float64)
    assert_close(to_w(to_p(w)), w, rtol=0, atol=1e-15)
    assert_close(to_p(to_w(w)), w, rtol=0, atol=1e-15)
    assert_close(to_p(w).numpy(), np.where(w.numpy() < 0, 5 * w.numpy(), w.numpy()))


@pytest.mark.parametrize("space", ["p", "latent"])
def test_the_box_is_mean_and_deviation_of_the_sample(space):
    w = torch.randn(40, 2, 5, generator=generator("w"), dtype=torch.float64)
    far = 3 * torch.randn(30, 2, 5, generator=generator("far"), dtype=torch.float64)
    clipped = Box.around(w, space=space, k=1.5).clip(far)

    def there(x):
        return np.where(x < 0, 5 * x, x) if space == "p" else x

    points = there(w.numpy())
    low, high = points.mean(0) - 1.5 * points.std(0), points.mean(0) + 1.5 * points.std(0)
    want = np.clip(there(far.numpy()), low, high)
    assert_close(there(clipped.numpy()), want, rtol=0, atol=1e-12)
    assert (clipped != far).any()
    assert_close(Box.around(w, space=space, k=1.5).clip(clipped), clipped, rtol=0, atol=1e-15)


def attack(made, prior, seed=0):
    world = TinyWorld()
    target = world.target()
    [result] = run_attack(made, [1], target, prior, world.attack_context(seed=seed))
    return result


def test_latents_stay_in_the_box_from_the_start_and_the_best_iterate_is_delivered(monkeypatch):
    seen = []
    prior, made = Styled().eval(), build(Mirror, {**TINY, "steps": 12, "k": 0.5, "flip": 0.0})
    render = prior.render
    monkeypatch.setattr(prior, "render", lambda latent, **more: seen.append(latent.detach()) or render(latent, **more))
    shared = made.prepare(TinyWorld().target(), prior, TinyWorld().attack_context())
    seen.clear()
    result = made.reconstruct(1, shared, TinyWorld().target(), prior, TinyWorld().attack_context())
    low, high = to_w(shared.box.low_LW) - 1e-6, to_w(shared.box.high_LW) + 1e-6
    assert len(seen) >= 13
    assert all(bool(((latent >= low) & (latent <= high)).all()) for latent in seen)
    judge = TinyWorld().target()
    assert result.trace["loss"][-1] < result.trace["loss"][0]
    loss = -10 * judge.logits(result.images_NCHW).log_softmax(1)[:, 1]
    assert loss.min() <= min(result.trace["loss"]) + 1e-3


def test_the_batch_size_changes_nothing():
    whole, pieces = (attack(build(Mirror, {**TINY, "batch": batch}), Styled().eval()) for batch in (10, 1))
    assert_close(whole.images_NCHW, pieces.images_NCHW, rtol=0, atol=1e-5)
    assert_close(whole.scores_N, pieces.scores_N, rtol=0, atol=1e-5)


def test_p_space_is_refused_where_it_means_nothing():
    with pytest.raises(UsageError, match=r"mirror\.prior=stylegan2, or mirror\.space=latent"):
        attack(build(Mirror, TINY), TinyWorld().prior())
    with pytest.raises(UsageError, match="final <= candidates <= pool"):
        build(Mirror, {"final": 9})
    with pytest.raises(UsageError, match="2 <= pool"):
        build(Mirror, {"pool": 1, "candidates": 1, "final": 1})


def test_published_figures_and_small_costs():
    paper = build(Mirror, Mirror.presets["paper"])
    assert paper.pool == CandidatePool(size=100_000, candidates=8, truncation=0.7, cutoff=8)
    assert (paper.search.steps, paper.search.lr, paper.weight, paper.box.k) == (20_000, 0.25, 10, 1)
    small = build(Mirror, Mirror.presets["small"])
    assert small.prior_choice() == "stylegan2"
    assert small.cost(24)["backward"] <= 30_000
