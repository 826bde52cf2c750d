"""GAN training: resuming, losses, augmentation."""

import math

import pytest
import torch
from mibench_models.priors.parts.augmentation import AUGMENTATIONS, augment, parse_policy
from mibench_models.priors.stylegan2 import losses
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from mibench_models.priors.stylegan2.training import GanTrainer

from mibench.api import MibenchError, TensorImages, UsageError, generator, seeded
from mibench.api.params import build, describe

TINY = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 128, "channel_max": 8, "batch": 4, "kimg": 0.024}


def _images(channels: int = 3, n: int = 20) -> TensorImages:
    pixels = torch.randint(0, 256, (n, channels, 16, 16), generator=generator("faces"), dtype=torch.uint8)
    return TensorImages(pixels, torch.zeros(n, dtype=torch.long), 1)


def _trainer(channels: int = 3, **settings: object) -> GanTrainer:
    model = build(StyleGan2Prior, TINY | settings)
    with seeded("init"):
        prior = model.build(channels=channels, size=16)
    trainer = model.trainer(prior, _images(channels), seed=5, device=torch.device("cpu"))
    assert isinstance(trainer, GanTrainer)
    return trainer


def test_resumed_training_is_equal_to_the_byte() -> None:
    settings = {"r1_interval": 2, "path_weight": 2.0, "path_interval": 2, "augment": "flip,translate,cutout,color"}
    straight, first, second = (_trainer(**settings) for _ in range(3))
    assert straight.total_steps == 6
    signals = [straight.step(i) for i in range(6)]
    again = [first.step(i) for i in range(3)]
    saved = first.state()
    first.step(3)  # what was saved must not change with the trainer
    second.load_state(saved)
    again += [second.step(i) for i in range(3, 6)]
    assert signals == again
    a, b = straight.state(), second.state()
    assert a.keys() == b.keys() and all(isinstance(tensor, torch.Tensor) for tensor in a.values())
    assert all(torch.equal(a[key], b[key]) for key in a)
    a, b = straight.finish().state_dict(), second.finish().state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_signals_follow_the_lazy_schedule() -> None:
    trainer = _trainer(r1_interval=2, path_weight=1.0, path_interval=3)
    seen = [set(trainer.step(i)) - {"loss_g", "loss_d", "real", "fake"} for i in range(4)]
    assert seen == [{"r1", "path"}, set(), {"r1"}, {"path"}]


def test_finished_prior_is_frozen_and_averaged() -> None:
    trainer = _trainer(channels=1)
    before = {name: tensor.clone() for name, tensor in trainer.prior.state_dict().items()}
    for index in range(3):
        trainer.step(index)
    prior = trainer.finish()
    after = prior.state_dict()
    assert not any(parameter.requires_grad for parameter in prior.parameters()) and not prior.training
    frozen = {name for name in after if torch.equal(before[name], after[name])}
    assert all("noise_const" in name for name in frozen)
    assert prior.critic.spread > 0
    assert prior.render(prior.to_latent(prior.sample(2, generator(0)))).shape == (2, 1, 16, 16)


def test_average_has_the_stated_half_life() -> None:
    trainer = _trainer(ema_kimg=0.004, ema_rampup=1e9)
    old = trainer.average.synthesis.b4.const.clone()
    trainer.live.synthesis.b4.const.data.add_(1.0)
    trainer._update_average(0)
    torch.testing.assert_close(trainer.average.synthesis.b4.const, old + 0.5)


def _latents(style_mixing: float) -> tuple[torch.Tensor, torch.Tensor]:
    trainer = _trainer(style_mixing=style_mixing)
    return trainer.batches.latents(trainer.live, "x", 0, 6)


def test_style_mixing_switches_once_per_sample() -> None:
    mixed, _ = _latents(1.0)
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(dim=2).sum(dim=1)
    assert (changes == 1).all()
    plain, first = _latents(0.0)
    assert torch.equal(plain, first[:, None].expand_as(plain))


def test_losses_equal_their_formulas() -> None:
    real, fake = torch.tensor([0.5, -1.0]), torch.tensor([2.0, -3.0])
    assert losses.generator_loss(fake).item() == pytest.approx(
        sum(math.log1p(math.exp(-v)) for v in (2.0, -3.0)) / 2, rel=1e-6
    )
    expected = sum(math.log1p(math.exp(v)) for v in (2.0, -3.0, -0.5, 1.0)) / 2
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    x = torch.randn(3, 1, 4, 4, generator=generator(0), requires_grad=True)
    penalty = losses.r1_penalty((x**2).sum(dim=(1, 2, 3)), x)
    torch.testing.assert_close(penalty, 4 * (x**2).sum() / 3)
    ws = torch.randn(2, 3, 5, generator=generator(1), requires_grad=True)
    y = torch.randn(2, 1, 2, 2, generator=generator(2))
    lengths = losses.path_lengths(ws.sum(dim=(1, 2))[:, None, None, None] * torch.ones(1, 1, 2, 2), ws, y)
    torch.testing.assert_close(lengths, (y.sum(dim=(1, 2, 3)) / 2).abs() * math.sqrt(5))
    lr, betas = losses.lazy_adam(0.0025, (0.0, 0.99), 16)
    assert lr == pytest.approx(0.0025 * 16 / 17) and betas == (0.0, pytest.approx(0.99 ** (16 / 17)))


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations_are_seeded_per_sample_and_differentiable(name: str, channels: int) -> None:
    x = torch.rand(8, channels, 16, 16, generator=generator(0)).requires_grad_()
    y = AUGMENTATIONS[name](x, generator(1))
    assert y.shape == x.shape
    assert torch.equal(y, AUGMENTATIONS[name](x, generator(1)))
    assert not torch.equal(y, AUGMENTATIONS[name](x, generator(2)))
    same = AUGMENTATIONS[name](x[:1].detach().expand(8, -1, -1, -1), generator(1))
    assert not torch.equal(same, same[:1].expand_as(same))
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0


def test_translation_moves_pixels_without_changing_them() -> None:
    x = torch.rand(16, 1, 16, 16, generator=generator(0))
    y = AUGMENTATIONS["translate"](x, generator(1))
    for before, after in zip(x, y, strict=True):
        moved = [
            torch.equal(torch.nn.functional.pad(before, (2, 2, 2, 2))[:, top : top + 16, left : left + 16], after)
            for top in range(5)
            for left in range(5)
        ]
        assert sum(moved) == 1


def test_policies() -> None:
    x = torch.rand(2, 1, 8, 8)
    assert augment(x, parse_policy("none"), generator(0)) is x
    assert parse_policy("flip, cutout") == (AUGMENTATIONS["flip"], AUGMENTATIONS["cutout"])
    with pytest.raises(ValueError, match="blur"):
        parse_policy("flip,blur")


def test_divergence_is_an_error() -> None:
    trainer = _trainer()
    trainer.live.synthesis.b4.const.data.fill_(math.nan)
    with pytest.raises(MibenchError, match="diverged at step 0"):
        trainer.step(0)


def test_parameters_are_documented_and_validated() -> None:
    assert all(row.doc for row in describe(StyleGan2Prior))
    with pytest.raises(UsageError, match="channel_base"):
        build(StyleGan2Prior, {"channel_bsae": 512})
