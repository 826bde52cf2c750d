"""Diff-MI's prior: the process against closed forms, the U-Net's conditioning, both phases, resuming."""

import math

import numpy as np
import pytest
import torch
from mibench_models.priors.diffusion.component import Diffusion
from mibench_models.priors.diffusion.prior import DiffusionPrior
from mibench_models.priors.diffusion.process import add_noise, ddim, signal_shares, spaced
from mibench_models.priors.diffusion.training import DiffusionTrainer
from mibench_models.priors.diffusion.unet import Attention
from torch import nn

from mibench.api import UsageError, generator, seeded
from mibench.api.params import build
from mibench.testing import TinyWorld
from mibench.testing.checks import global_rng_untouched, same_tensors, snapshot

TINY = {
    "width": 4, "factors": (1, 2), "blocks": 1, "attention": 1, "patch": 2, "times": 100, "top": 5,
    "steps": 2, "batch": 5, "lr": 1e-3, "ema": 0.9, "tune_steps": 2, "tune_batch": 2, "sample_steps": 2,
}  # fmt: skip
CPU = torch.device("cpu")


def trainer(world: TinyWorld = TinyWorld(), **settings: object) -> DiffusionTrainer:  # noqa: B008
    model = build(Diffusion, TINY | settings)
    with seeded("init"):
        prior = model.build(channels=world.channels, size=world.size, classes=world.classes)
    made = model.trainer(prior, world.images("public"), target=world.target(), seed=5, device=CPU)
    assert isinstance(made, DiffusionTrainer)
    return made


def untrained(channels: int = 3, size: int = 16, **settings: object) -> DiffusionPrior:
    with seeded("init"):
        prior = build(Diffusion, TINY | settings).build(channels=channels, size=size, classes=4)
        for weights in prior.parameters():
            if not weights.any():  # the convolutions that begin at 0
                nn.init.normal_(weights, std=0.05)
    return prior.eval()


def test_schedules_against_their_formulas() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(signal_shares("linear", 1000).numpy(), np.cumprod(1 - betas), rtol=1e-5)
    wave = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    cosine = signal_shares("cosine", 1000).numpy()
    np.testing.assert_allclose(cosine[:990], (wave[1:] / wave[0])[:990], rtol=1e-4)
    assert 0 < cosine[-1] < cosine[-2] < 1e-4
    for schedule in ("linear", "cosine"):
        for times in (100, 1000):
            shares = signal_shares(schedule, times)
            assert shares.diff().lt(0).all()
            assert 0 < shares[-1] < shares[0] < 1


def test_spaced_times() -> None:
    assert spaced(1000, 10) == [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100]
    assert spaced(100, 3) == [100, 67, 34]
    assert spaced(2, 5) == [2, 1]


def test_noise_by_hand() -> None:
    x, noise = torch.tensor([2.0, 2.0]).view(2, 1, 1, 1), torch.tensor([1.0, 1.0]).view(2, 1, 1, 1)
    assert add_noise(x, noise, torch.tensor([0.36, 1.0])).flatten().tolist() == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_ddim_with_a_perfect_denoiser_recovers_the_image(steps: int) -> None:
    shares = signal_shares("linear", 1000).double()
    clean = torch.rand(3, 2, 4, 4, generator=generator("clean"), dtype=torch.float64) * 2 - 1
    noise = torch.randn(3, 2, 4, 4, generator=generator("noise"), dtype=torch.float64)
    start = add_noise(clean, noise, shares[-1])

    def perfect(x: torch.Tensor, time: int) -> torch.Tensor:
        share = shares[time - 1]
        return (x - share.sqrt() * clean) / (1 - share).sqrt()

    seen = ddim(start, perfect, shares, spaced(1000, steps))
    assert len(seen) == steps
    torch.testing.assert_close(seen[-1], clean, atol=1e-8, rtol=0)


def test_ddim_of_a_gaussian_follows_the_closed_form() -> None:
    """For data N(mean, s^2) the probability flow maps standardised points to standardised points."""
    shares, mean, deviation = signal_shares("linear", 1000).double(), 0.3, 0.2

    def best(x: torch.Tensor, time: int) -> torch.Tensor:
        share = shares[time - 1]
        variance = share * deviation**2 + 1 - share
        return (1 - share).sqrt() * (x - share.sqrt() * mean) / variance

    start = torch.randn(1000, 1, 1, 1, generator=generator("start"), dtype=torch.float64)
    found = ddim(start, best, shares, spaced(1000, 1000), clip=False)[-1]
    spread = (shares[-1] * deviation**2 + 1 - shares[-1]).sqrt()
    truth = mean + deviation * (start - shares[-1].sqrt() * mean) / spread
    torch.testing.assert_close(found, truth, atol=0.01, rtol=0)


def test_ddim_clips_all_views_but_the_last() -> None:
    shares = signal_shares("linear", 20)
    start = 3 * torch.randn(2, 1, 4, 4, generator=generator("start"))
    *between, last = ddim(start, lambda x, t: torch.zeros_like(x), shares, spaced(20, 4))
    assert all(view.abs().max() == 1 for view in between)
    free = ddim(start, lambda x, t: torch.zeros_like(x), shares, spaced(20, 1))[-1]
    torch.testing.assert_close(free, start / shares[-1].sqrt())
    assert last.abs().max() > 1


@pytest.mark.parametrize(
    ("channels", "size", "more"),
    [(1, 32, {}), (3, 64, {"factors": (1, 2, 3)}), (3, 16, {"patch": 1, "blocks": 2, "attention": 0})],
)
def test_shapes_and_conditioning(channels: int, size: int, more: dict[str, object]) -> None:
    prior = untrained(channels, size, **more)
    pixels = channels * size * size
    latent = prior.to_latent(prior.sample(3, generator("z")))
    assert latent.shape == (3, 1, pixels + 4)
    assert latent[..., pixels:].eq(0).all()
    labelled = prior.condition(latent, torch.tensor([2, 0, 2]))
    with torch.no_grad():
        image, plain = prior.render(labelled), prior.render(latent)
        other = prior.render(prior.condition(latent, torch.tensor([1, 1, 1])))
        alone = prior.render(labelled[1:2])
    assert image.shape == (3, channels, size, size)
    assert image.isfinite().all()
    for different in (plain, other):
        assert (image - different).abs().amax((1, 2, 3)).gt(1e-6).all()
    # an untrained network strays: sampling divides its rounding errors by the root of the smallest share, 0.005
    torch.testing.assert_close(alone, image[1:2], atol=5e-3, rtol=0)


def test_guidance_by_hand() -> None:
    prior = untrained()
    x, labels = torch.randn(2, 3, 16, 16, generator=generator("x")), torch.tensor([3, 1])
    with torch.no_grad():
        time = torch.full((2,), 7)
        without = prior.net(x, time, torch.zeros(2, 4))
        with_class = prior.net(x, time, nn.functional.one_hot(labels, 4).float())
        torch.testing.assert_close(prior.noise_estimate(x, 7, labels, guidance=1.0), with_class, atol=1e-5, rtol=1e-4)
        truth = 3 * with_class - 2 * without
        torch.testing.assert_close(prior.noise_estimate(x, 7, labels, guidance=3.0), truth, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(prior.noise_estimate(x, 7, labels, guidance=0.0), without, atol=1e-5, rtol=1e-4)
        assert prior.denoise(x, 7, labels, guidance=3.0, steps=3).shape == x.shape


def test_render_is_differentiable_in_noise_and_class() -> None:
    prior = untrained()
    latent = prior.condition(prior.to_latent(prior.sample(2, generator("z"))), torch.tensor([0, 3]))
    latent.requires_grad_(True)
    (gradient,) = torch.autograd.grad(prior.render(latent).square().sum(), latent)
    assert gradient.isfinite().all()
    assert gradient[..., :-4].flatten(1).ne(0).any(1).all()
    assert gradient[..., -4:].ne(0).any()


def test_attention_against_float64() -> None:
    with seeded("attention"):
        layer = Attention(8)
        nn.init.normal_(layer.project.weight)
    x = torch.randn(2, 8, 3, 3, generator=generator("x"))
    h = layer.norm(x).detach().double().numpy().reshape(2, 8, 9)
    qkv = np.einsum("oc,bcn->bon", layer.qkv.weight.detach().double().numpy()[:, :, 0, 0], h)
    q, k, v = (qkv + layer.qkv.bias.detach().double().numpy()[None, :, None]).reshape(2, 3, 4, 2, 9).swapaxes(0, 1)
    scores = np.einsum("bhdn,bhdm->bhnm", q, k) / math.sqrt(2)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("bhnm,bhdm->bhdn", weights / weights.sum(-1, keepdims=True), v).reshape(2, 8, 9)
    out = np.einsum("oc,bcn->bon", layer.project.weight.detach().double().numpy()[:, :, 0, 0], mixed)
    truth = x.numpy() + out.reshape(2, 8, 3, 3)
    np.testing.assert_allclose(layer(x, torch.zeros(2, 1)).detach().numpy(), truth, atol=1e-4)


def test_the_average_follows_the_live_network() -> None:
    made = trainer(ema=0.9)
    made.prior.net.enter.bias.data.zero_()
    made.live.enter.bias.data.fill_(1.0)
    made._update_average(0)  # decay (1 + 0) / (10 + 0)
    torch.testing.assert_close(made.prior.net.enter.bias, torch.full_like(made.prior.net.enter.bias, 0.9))
    made._update_average(10_000)  # decay 0.9
    torch.testing.assert_close(made.prior.net.enter.bias, torch.full_like(made.prior.net.enter.bias, 0.91))


def test_denoising_learns() -> None:
    made = trainer(steps=40, lr=1e-2, width=8)
    losses = [made.step(index)["loss"] for index in range(40)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_tuning_moves_labels_and_the_middle_only() -> None:
    made = trainer()
    for index in range(2):
        made.step(index)
    nn.init.normal_(made.prior.net.paint.weight, std=0.1)
    before, live = snapshot(made.prior.state_dict()), snapshot(made.live.state_dict())
    signals = made.step(2)
    assert set(signals) == {"margin", "features", "hits"}
    after = snapshot(made.prior.state_dict())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"net.class_KE", "net.null_E"} <= moved
    assert all(name.startswith(("net.class_KE", "net.null_E", "net.middle")) for name in moved)
    assert any(name.startswith("net.middle") for name in moved)
    assert same_tensors(live, snapshot(made.live.state_dict()))


def test_tuning_rests_when_the_target_agrees() -> None:
    made = trainer(tune_until=0.5)
    made.step(0)
    made.hits = torch.tensor(0.5)
    before, spent = snapshot(made.prior.state_dict()), made.target.ledger.copy()
    assert made.step(2) == {"hits": 0.5}
    assert same_tensors(before, snapshot(made.prior.state_dict()))
    assert made.target.ledger == spent


def test_class_features_and_what_the_target_is_asked() -> None:
    made = trainer()
    made.step(0)
    assert vars(made.target.ledger) == {"forward": 24, "backward": 0, "render": 0}
    made.step(2)  # features of 4 classes x 5 images; 2 samples, 2 steps of sampling, 2 views
    assert vars(made.target.ledger) == {"forward": 24 + 20 + 8, "backward": 8, "render": 0}
    x = TinyWorld().images("public").images(made.prior.pseudo_KT[3])
    truth = TinyWorld().trained().features(x).double().mean(0)
    torch.testing.assert_close(made.features_KD[3].double(), truth, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_training_is_equal_to_the_byte(stop: int) -> None:
    straight, first, second = (trainer() for _ in range(3))
    with global_rng_untouched("the training"):
        signals = [straight.step(index) for index in range(4)]
    again = [first.step(index) for index in range(stop)]
    saved, spent = first.state(), first.target.ledger.copy()
    first.step(stop)  # what was saved must not change with the trainer
    second.load_state(saved)
    again += [second.step(index) for index in range(stop, 4)]
    assert signals == again
    assert same_tensors(straight.state(), second.state())
    assert second.target.ledger.forward == straight.target.ledger.forward - spent.forward
    assert same_tensors(straight.finish().state_dict(), second.finish().state_dict())


def test_finished_prior_is_frozen() -> None:
    made = trainer(TinyWorld(channels=1))
    for index in (0, 2):
        made.step(index)
    prior = made.finish()
    assert not prior.training
    assert not any(weights.requires_grad for weights in prior.parameters())
    assert prior.crop_and_resize(prior.render(prior.to_latent(prior.sample(2, generator(0)))), 10).shape == (
        2,
        1,
        10,
        10,
    )


def test_sizes_that_do_not_fit_are_refused_and_presets_build() -> None:
    with pytest.raises(UsageError, match="divisible by 8, got 20"):
        Diffusion(patch=2, factors=(1, 2, 3)).build(channels=3, size=20, classes=2)
    assert all(build(Diffusion, settings) for settings in Diffusion.presets.values())
