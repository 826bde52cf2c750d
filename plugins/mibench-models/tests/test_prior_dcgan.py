"""The DCGAN prior: its contract, the published sizes, its losses against float64."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_models.priors.dcgan.component import DcganPrior
from mibench_models.priors.dcgan.networks import Dcgan
from mibench_models.priors.dcgan.training import WassersteinTrainer, gradient_penalty
from mibench_models.priors.pca import PcaPrior

from mibench.api import MibenchError, TensorImages, UsageError, generator, seeded
from mibench.api.params import build
from mibench.testing import PriorContract
from mibench.testing.tiny_world import TinyWorld

TINY = {"z_dim": 6, "width": 4, "steps": 3, "n_critic": 2, "batch": 4}
CPU = torch.device("cpu")


class TestDcgan(PriorContract):
    component = DcganPrior
    settings = TINY


class TestGreyDcgan(PriorContract):
    component = DcganPrior
    settings: ClassVar = dict(TINY, mirror=True)
    world = TinyWorld(channels=1, size=32)


def _trainer(**settings: object) -> WassersteinTrainer:
    model = build(DcganPrior, TINY | settings)
    with seeded("init"):
        prior = model.build(channels=3, size=16)
    trainer = model.trainer(prior, TinyWorld().images("public"), seed=5, device=CPU)
    assert isinstance(trainer, WassersteinTrainer)
    return trainer


def _sizes(network: torch.nn.Module) -> list[int]:
    return [parameter.numel() for parameter in network.parameters()]


def test_networks_have_the_published_layers_at_64_px() -> None:
    prior = DcganPrior().build(channels=3, size=64)
    # weights of each layer in turn: linear and transposed convolutions without bias but the last, each with BatchNorm
    assert _sizes(prior.generator) == [
        100 * 8192, 8192, 8192, 512 * 256 * 25, 256, 256, 256 * 128 * 25, 128, 128, 128 * 64 * 25, 64, 64,
        64 * 3 * 25, 3,
    ]  # fmt: skip
    assert _sizes(prior.critic) == [
        3 * 64 * 25, 64, 64 * 128 * 25, 128, 128, 128, 128 * 256 * 25, 256, 256, 256, 256 * 512 * 25, 512, 512, 512,
        512 * 16, 1,
    ]  # fmt: skip
    assert (prior.noise_size, prior.latent_layers, prior.latent_size) == (100, 1, 100)


def test_networks_have_the_published_layers_at_32_px() -> None:
    prior = DcganPrior().build(channels=1, size=32)
    assert _sizes(prior.generator) == [
        100 * 4096, 4096, 4096, 256 * 128 * 25, 128, 128, 128 * 64 * 25, 64, 64, 64 * 25, 1,
    ]  # fmt: skip
    z_BZ = prior.sample(2, generator(0))
    assert prior.eval().render(prior.to_latent(z_BZ)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize("size", [24, 4, 63])
def test_other_sides_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match=rf"4 \* 2\^k pixels.*has {size}"):
        DcganPrior(width=2).build(channels=3, size=size)


def test_gradient_penalty_of_a_quadratic_critic_equals_float64() -> None:
    rng = np.random.default_rng(0)
    c, real, fake = rng.normal(size=(3, 4, 4)), rng.random((5, 3, 4, 4)), rng.random((5, 3, 4, 4))
    share = rng.random(5)

    def expected(scale: float) -> float:  # D(x) = scale / 2 sum c x^2 has the gradient scale c x
        between = share[:, None, None, None] * real + (1 - share[:, None, None, None]) * fake
        lengths = np.sqrt(((scale * c * between) ** 2).sum((1, 2, 3)))
        return float(((lengths - 1) ** 2).mean())

    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor(c)
    tensors = torch.tensor(real), torch.tensor(fake), torch.tensor(share)
    penalty = gradient_penalty(lambda x: (scale / 2 * weights * x**2).sum((1, 2, 3)), *tensors)
    assert penalty.item() == pytest.approx(expected(0.7), rel=1e-12)
    (slope,) = torch.autograd.grad(penalty, scale)
    assert slope.item() == pytest.approx((expected(0.7 + 1e-6) - expected(0.7 - 1e-6)) / 2e-6, rel=1e-6)


def test_gradient_penalty_of_a_linear_critic() -> None:
    weights = torch.zeros(3, 4, 4)
    weights[0, 0, :2] = torch.tensor([3.0, 4.0])
    real, fake = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    penalty = gradient_penalty(lambda x: (weights * x).sum((1, 2, 3)), real, fake, torch.tensor([0.0, 1.0]))
    assert penalty.item() == pytest.approx(16.0, rel=1e-5)


def test_losses_of_the_trainer_equal_float64() -> None:
    trainer = _trainer(penalty=10.0)
    weights = torch.full((3, 16, 16), 2 / 768**0.5)  # a linear critic with a gradient of length 2: penalty 1
    trainer.prior.critic.forward = lambda x: (weights * x).sum((1, 2, 3))  # type: ignore[method-assign]
    real, fake = trainer.real("real", 3), trainer.fake("critic noise", 3)
    w = weights.double().numpy()
    distance = np.mean([(w * x.double().numpy()).sum() for x in real]) - np.mean(
        [(w * x.double().detach().numpy()).sum() for x in fake]
    )
    loss, signals = trainer.critic_loss(3)
    assert loss.item() == pytest.approx(10.0 - distance, rel=1e-5)
    assert signals["distance"].item() == pytest.approx(distance, rel=1e-4)
    generated = trainer.fake("generator noise", 1).double().detach().numpy()
    assert trainer.generator_loss(1).item() == pytest.approx(-np.mean([(w * x).sum() for x in generated]), rel=1e-5)


def test_a_step_is_one_generator_update_after_its_critic_updates() -> None:
    trainer = _trainer(n_critic=3)
    for index in range(2):
        signals = trainer.step(index)
    assert set(signals) == {"loss_g", "loss_d", "distance", "penalty"}
    assert {int(state["step"]) for state in trainer.adam_d.state.values()} == {6}
    assert {int(state["step"]) for state in trainer.adam_g.state.values()} == {2}


def test_what_was_saved_does_not_change_with_the_trainer() -> None:
    straight, first, second = _trainer(), _trainer(), _trainer()
    signals = [straight.step(index) for index in range(3)]
    first.step(0)
    saved = first.state()
    first.step(1)
    second.load_state(saved)
    assert signals[1:] == [second.step(1), second.step(2)]
    assert all(torch.equal(tensor, second.state()[name]) for name, tensor in straight.state().items())


def test_frozen_images_do_not_depend_on_their_batch() -> None:
    trainer = _trainer()
    trainer.step(0)
    prior = trainer.finish()
    latent_BLW = prior.to_latent(prior.sample(5, generator(0)))
    alone = torch.cat([prior.render(latent_1LW) for latent_1LW in latent_BLW.split(1)])
    torch.testing.assert_close(alone, prior.render(latent_BLW), atol=1e-6, rtol=0)
    x_BCSS = prior.render(latent_BLW)
    alone = torch.cat([prior.discriminator(x_1CSS) for x_1CSS in x_BCSS.split(1)])
    torch.testing.assert_close(alone, prior.discriminator(x_BCSS), atol=1e-5, rtol=0)
    assert set(prior.tunable) == set(prior.generator.parameters())
    with pytest.raises(ValueError, match="start=1"):
        prior.render(latent_BLW, start=1)


def test_wrong_uses_are_explained() -> None:
    empty = TensorImages(torch.zeros(0, 3, 16, 16, dtype=torch.uint8), torch.zeros(0, dtype=torch.long), 1)
    model = build(DcganPrior, TINY)
    with pytest.raises(MibenchError, match="at least one public image"):
        model.trainer(model.build(channels=3, size=16), empty, seed=0, device=CPU)
    with pytest.raises(TypeError, match="LinearFaces"):
        model.trainer(PcaPrior().build(channels=3, size=16), empty, seed=0, device=CPU)
    with pytest.raises(UsageError, match="betas"):
        build(DcganPrior, {"betas": (0.5, 1.0)})
    trainer = _trainer()
    trainer.prior.generator.start[0].weight.data.fill_(float("nan"))
    with pytest.raises(MibenchError, match="diverged at step 0"):
        trainer.step(0)


def test_training_brings_the_brightness_of_samples_to_that_of_the_images() -> None:
    dark = torch.randint(20, 60, (12, 3, 16, 16), generator=generator("dark"), dtype=torch.uint8)
    images = TensorImages(dark, torch.zeros(12, dtype=torch.long), 1)
    model = build(DcganPrior, {**TINY, "lr": 0.005, "batch": 8, "steps": 40})
    with seeded("init"):
        prior: Dcgan = model.build(channels=3, size=16)
    trainer = model.trainer(prior, images, seed=0, device=CPU)
    for index in range(40):
        trainer.step(index)
    prior = trainer.finish()
    mean = prior.render(prior.to_latent(prior.sample(32, generator(1)))).mean().item()
    assert abs(mean - images.all_images().mean().item()) < 0.1  # untrained: 0.5 instead of 0.16
