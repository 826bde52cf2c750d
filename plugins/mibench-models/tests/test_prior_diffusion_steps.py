"""Steps of Diff-MI's two trainings, recomputed: losses from their formulas, parameters by AdamW in float64."""

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.diffusion.component import Diffusion
from mibench_models.priors.diffusion.process import add_noise, ddim, signal_shares, spaced
from mibench_models.priors.diffusion.training import HIT_DECAY, DiffusionTraining, DiffusionTuning
from mibench_models.priors.parts.target_guidance import changed, margin
from torch import nn

from mibench.api import Ledger, generator, metered, seeded
from mibench.api.params import build, canonical
from mibench.api.prior import build_prior, prior_trainer
from mibench.testing import TinyWorld
from mibench.testing.checks import same_tensors, snapshot

TINY = {
    "width": 4, "factors": (1, 2), "blocks": 1, "attention": 1, "patch": 2, "times": 100, "top": 5,
    "steps": 3, "batch": 5, "lr": 1e-3, "ema": 0.9, "tune_steps": 2, "tune_batch": 2, "sample_steps": 2,
}  # fmt: skip
WORLD = TinyWorld()


def trainer(**settings):
    model = build(Diffusion, TINY | settings)
    with seeded("init"):
        prior = build_prior(model, channels=3, size=16, classes=4)
        for weights in prior.net.parameters():
            if not weights.any():  # the convolutions that begin at 0
                nn.init.normal_(weights, std=0.05)
    images = WORLD.images("public")
    return prior_trainer(model, prior, images, seed=5, device=torch.device("cpu"), target=WORLD.target())


def close(parameters, expected, lr):
    """Compare with what AdamW would do; where a gradient is all rounding, its sign is too."""
    apart = np.concatenate([np.abs(array(p) - e).ravel() for p, e in zip(parameters, expected, strict=True)])
    assert np.quantile(apart, 0.95) < 0.02 * lr


@pytest.mark.parametrize("mirror", [False, True])
def test_a_denoising_step_is_adam_on_the_squared_error_of_the_noise(mirror):
    made, twin = trainer(null=0.5, mirror=mirror), trainer(null=0.5, mirror=mirror)
    signals = made.step(0)
    live, table = list(twin.live.parameters()), made.prior.pseudo_KT
    rng = generator(5, "denoise", 0)
    place = torch.randint(20, (5,), generator=rng)
    x = WORLD.images("public").images(table.flatten()[place]) * 2 - 1
    flips, hides = torch.rand(2, 5, generator=rng)
    if mirror:
        x = torch.stack([image.flip(2) if draw < 0.5 else image for image, draw in zip(x, flips, strict=True)])
    weights = torch.eye(4)[place // 5] * (hides >= 0.5)[:, None]
    time = torch.randint(1, 101, (5,), generator=rng)
    noise = torch.randn(x.shape, generator=rng)
    share = signal_shares("linear", 100)[time - 1].view(-1, 1, 1, 1)
    loss = (twin.live(share.sqrt() * x + (1 - share).sqrt() * noise, time, weights) - noise).square().mean()
    assert signals == {"loss": pytest.approx(loss.item(), rel=1e-5)}
    assert 0 < weights.sum() < 5
    slopes = torch.autograd.grad(loss, live)
    expected = [by_hand.Adam(1e-3, (0.9, 0.999)).moved(array(p), array(g)) for p, g in zip(live, slopes, strict=True)]
    close(made.live.parameters(), expected, 1e-3)


def test_the_average_follows_with_a_decay_that_begins_small():
    made = trainer(ema=0.5)
    before = [array(p) for p in made.prior.net.parameters()]
    made.step(0)
    for old, average, live in zip(before, made.prior.net.parameters(), made.live.parameters(), strict=True):
        np.testing.assert_allclose(array(average), 0.1 * old + 0.9 * array(live), atol=1e-6)
    averaged = [array(p) for p in made.prior.net.parameters()]
    made._update_average(98)  # 99 / 108 is above 0.5
    for old, average, live in zip(averaged, made.prior.net.parameters(), made.live.parameters(), strict=True):
        np.testing.assert_allclose(array(average), 0.5 * old + 0.5 * array(live), atol=1e-6)


def test_a_tuning_step_is_adam_on_margin_and_features():
    settings = {"topk": 2, "feature_weight": 0.7, "tune_lr": 3e-3, "tune_views": 2}
    made, twin = trainer(**settings), trainer(**settings)
    for one in (made, twin):
        one.step(0)
    rng = generator(5, "tune", 3)
    y = torch.randint(4, (2,), generator=rng)
    noise = torch.randn(2, 3, 16, 16, generator=rng)
    tuned = twin.prior.net.guided()
    for weights in tuned:
        weights.requires_grad_(True)
    seen = twin.prior.sample_path(noise, torch.eye(4)[y])
    x = changed((torch.cat([*seen, *seen]) + 1) / 2, rng).clamp(0, 1)
    outputs, labels = WORLD.trained().outputs(x), y.repeat(4)
    public = WORLD.images("public")
    means = torch.stack([WORLD.trained().features(public.images(rows)).mean(0) for rows in twin.prior.pseudo_KT])
    distance = (outputs.features - means[labels]).square().mean(1)
    of_margin = margin(outputs.logits, labels, k=2)
    slopes = torch.autograd.grad((of_margin + 0.7 * distance).mean(), tuned)
    adams = [by_hand.Adam(3e-3, (0.9, 0.999)) for _ in tuned]
    expected = [adam.moved(array(p), array(g)) for adam, p, g in zip(adams, tuned, slopes, strict=True)]
    signals = made.step(3)
    assert signals["margin"] == pytest.approx(of_margin.mean().item(), rel=1e-4, abs=1e-5)
    assert signals["features"] == pytest.approx(distance.mean().item(), rel=1e-4)
    hits = (outputs.logits.argmax(1) == labels).float().view(2, 2, 2)[:, -1].mean().item()
    assert signals["hits"] == pytest.approx((1 - HIT_DECAY) * hits, abs=1e-6)
    close(made.prior.net.guided(), expected, 3e-3)
    assert not any(weights.requires_grad for weights in made.prior.net.parameters())


def test_hits_decay_towards_what_is_seen():
    assert HIT_DECAY == 0.98
    made = trainer(tune_until=1.0)
    made.step(0)
    made.hits = torch.tensor(0.5)
    signals = made.step(3)
    assert 0.49 <= signals["hits"] <= 0.51


def test_the_first_phase_leaves_the_sampler_to_the_average_and_the_second_the_live_network():
    made = trainer()
    made.step(0)
    live = snapshot(made.live.state_dict())
    made.step(3)
    made.step(4)
    assert same_tensors(live, snapshot(made.live.state_dict()))
    assert made.total_steps == 5


def test_groups_have_flat_names_that_do_not_meet():
    made = build(Diffusion, {"steps": 7, "tune_steps": 9, "tuning.lr": 0.5, "training.lr": 0.25, "topk": 3})
    assert made.training == DiffusionTraining(steps=7, lr=0.25)
    assert made.tuning == DiffusionTuning(steps=9, lr=0.5, topk=3)
    names = canonical(made)
    assert (names["steps"], names["tune_steps"], names["tune_lr"], names["lr"]) == (7, 9, 0.5, 0.25)
    assert not {"training", "tuning", "until", "views"} & set(names)


# -- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1000, 250, 50])
def test_linear_schedule_in_float64(times):
    beta = np.minimum(np.linspace(1e-4, 0.02, times) * 1000 / times, 0.999)
    np.testing.assert_allclose(array(signal_shares("linear", times)), np.cumprod(1 - beta), rtol=1e-5)


def test_cosine_schedule_is_capped():
    shares = array(signal_shares("cosine", 20))
    wave = np.cos((np.arange(21) / 20 + 0.008) / 1.008 * np.pi / 2) ** 2
    beta = np.minimum(1 - wave[1:] / wave[:-1], 0.999)
    np.testing.assert_allclose(shares, np.cumprod(1 - beta), rtol=1e-4)
    assert beta[-1] == 0.999


@pytest.mark.parametrize(("start", "steps"), [(100, 7), (1000, 10), (3, 3), (5, 100), (1, 1)])
def test_spaced_times_end_at_one_stride(start, steps):
    times = spaced(start, steps)
    assert times[0] == start
    assert times == sorted(set(times), reverse=True)
    assert len(times) == min(start, steps)
    gaps = np.diff([*times, 0])
    assert gaps.max() - gaps.min() <= 1
    assert times[-1] >= 1


def test_one_ddim_step_by_hand():
    shares = torch.tensor([0.81, 0.25])
    x, noise = torch.full((1, 1, 1, 1), 0.7), torch.full((1, 1, 1, 1), 0.4)
    seen = ddim(x, lambda *_: noise, shares, [2, 1], clip=False)
    clean = (0.7 - np.sqrt(0.75) * 0.4) / 0.5
    again = np.sqrt(0.81) * clean + np.sqrt(0.19) * 0.4
    last = (again - np.sqrt(0.19) * 0.4) / 0.9
    assert [view.item() for view in seen] == pytest.approx([clean, last], rel=1e-5)


def test_clipping_keeps_the_noise_consistent():
    shares = torch.tensor([0.81, 0.25])
    x = torch.full((1, 1, 1, 1), 3.0)
    given = []

    def estimate(x, time):
        given.append(x.item())
        return torch.zeros_like(x)

    ddim(x, estimate, shares, [2, 1])
    noise = (3.0 - 0.5 * 1.0) / np.sqrt(0.75)  # of the clean image cut to 1
    assert given == pytest.approx([3.0, 0.9 * 1.0 + np.sqrt(0.19) * noise], rel=1e-5)


def test_noise_has_the_variance_of_its_share():
    x, noise = torch.zeros(2, 1, 100, 100), torch.randn(2, 1, 100, 100, generator=generator("noise"))
    y = add_noise(x, noise, torch.tensor([0.36, 0.75]))
    assert y.flatten(1).std(1).tolist() == pytest.approx([0.8, 0.5], rel=0.03)
    assert torch.equal(add_noise(x, noise, torch.tensor(0.36))[:1], y[:1])


# -- the prior --------------------------------------------------------------------------------------------------------


def test_rendering_is_ddim_under_guidance_from_the_noise():
    made = trainer(guidance=2.5, sample_steps=3)
    prior = made.prior
    latent = prior.condition(prior.to_latent(prior.sample(2, generator("z"))), torch.tensor([3, 0]))
    z, weights = latent[:, 0, :768].view(2, 3, 16, 16), latent[:, 0, 768:]

    def estimate(x, time):
        t = torch.full((2,), time)
        without, within = prior.net(x, t, torch.zeros(2, 4)), prior.net(x, t, weights)
        return without + 2.5 * (within - without)

    seen = ddim(z, estimate, prior.share_T, [100, 67, 34])
    torch.testing.assert_close(prior.render(latent), (seen[-1] + 1) / 2, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="start=1"):
        prior.render(latent, start=1)


def test_a_view_of_the_prior_counts_what_it_denoises():
    prior, ledger = trainer().prior, Ledger()
    view = metered(prior, ledger)
    x, y = torch.rand(3, 3, 16, 16), torch.tensor([0, 1, 2])
    view.noise_estimate(x, 5, y, guidance=1.0)
    assert ledger.render == 3
    view.denoise(x, 90, y, guidance=2.0, steps=4)
    assert ledger.render == 3 + 12
    view.render(view.to_latent(view.sample(2, generator("z"))))
    assert ledger.render == 17
