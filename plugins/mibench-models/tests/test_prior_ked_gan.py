"""KED-MI's GAN: losses against float64, its discriminator, and a training that asks the target."""

import numpy as np
import pytest
import torch
from mibench_models.priors.dcgan.component import DcganPrior
from mibench_models.priors.dcgan.networks import Dcgan
from mibench_models.priors.ked_gan.component import KedGanPrior
from mibench_models.priors.ked_gan.networks import MinibatchDiscriminator
from mibench_models.priors.ked_gan.training import (
    KedTrainer,
    feature_distance,
    real_or_fake,
    soft_cross_entropy,
    summed_entropy,
)

from mibench.api import Access, TargetView, UsageError, generator, seeded
from mibench.api.params import build, canonical, describe
from mibench.testing.checks import global_rng_untouched, same_tensors
from mibench.testing.tiny_world import TinyWorld

TINY = {"z_dim": 6, "width": 4, "steps": 3, "n_critic": 2, "batch": 4, "kernels": 3, "kernel_size": 2}
CPU = torch.device("cpu")
WORLD = TinyWorld()


def _prior(settings: dict[str, object], world: TinyWorld = WORLD) -> Dcgan:
    with seeded("init"):
        model = build(KedGanPrior, TINY | settings)
        return model.build(channels=world.channels, size=world.size, classes=world.classes)


def _trainer(world: TinyWorld = WORLD, target: TargetView | None = None, **settings: object) -> KedTrainer:
    model, prior = build(KedGanPrior, TINY | settings), _prior(settings, world)
    target = target or world.target()
    trainer = model.trainer(prior, world.images("public"), target=target, seed=5, device=CPU)
    assert isinstance(trainer, KedTrainer)
    return trainer


def _lse(logits: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits).sum(1))


def test_losses_equal_float64() -> None:
    rng = np.random.default_rng(0)
    real, fake, q = rng.normal(size=(5, 4)), rng.normal(size=(6, 4)), rng.dirichlet(np.ones(4), 5)
    log_p = real - _lse(real)[:, None]
    assert soft_cross_entropy(torch.tensor(real), torch.tensor(q)).item() == pytest.approx(-(q * log_p).sum(1).mean())
    expected = np.log1p(np.exp(_lse(real))).mean() - _lse(real).mean() + np.log1p(np.exp(_lse(fake))).mean()
    assert real_or_fake(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(expected)
    p = np.exp(log_p)
    assert summed_entropy(torch.tensor(real)).item() == pytest.approx(-(p * log_p).sum())
    expected = np.abs(fake.mean(0) - real.mean(0)).mean()
    assert feature_distance(torch.tensor(fake), torch.tensor(real)).item() == pytest.approx(expected)


def test_the_prior_loss_of_the_paper_is_softplus_of_minus_the_discriminator() -> None:
    prior = _prior({})
    x_BCHW = WORLD.batch()[0]
    d_B = prior.discriminator(x_BCHW)
    lse_B = prior.critic.net.classify(prior.critic.net.features(x_BCHW), torch.zeros(1, 3)).logsumexp(1)
    torch.testing.assert_close(d_B, lse_B)
    expected = torch.log1p(lse_B.double().exp()) - lse_B.double()
    torch.testing.assert_close(torch.nn.functional.softplus(-d_B).double(), expected, atol=1e-6, rtol=1e-5)


def test_closeness_equals_the_formula_pair_by_pair() -> None:
    net = _prior({}).critic.net
    features = np.random.default_rng(1).normal(size=(5, net.kernels_FMD.shape[0]))
    projected = np.einsum("bf,fmd->bmd", features, net.kernels_FMD.detach().double().numpy())
    expected = [
        [sum(np.exp(-np.abs(projected[i, m] - projected[j, m]).sum()) for j in range(5) if j != i) for m in range(3)]
        for i in range(5)
    ]
    found = net.double().closeness(torch.tensor(features)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_discriminator_has_the_published_layers_at_64_px() -> None:
    net = MinibatchDiscriminator(classes=1000, width=64, channels=3, size=64, kernels=64, kernel_size=50)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [
        (4096, 64, 50), (64, 3, 5, 5), (128, 64, 5, 5), (256, 128, 5, 5), (256, 256, 3, 3), (1000, 4160),
    ]  # fmt: skip
    with torch.no_grad():
        assert net.features(torch.rand(2, 3, 64, 64)).shape == (2, 4096)
        assert net(torch.rand(2, 3, 64, 64)).shape == (2, 1000)


@pytest.mark.parametrize("world", [WORLD, TinyWorld(channels=1, size=32)])
def test_training_steps_resumes_and_freezes(world: TinyWorld) -> None:
    whole, first, second = _trainer(world), _trainer(world), _trainer(world)
    with global_rng_untouched("the training"):
        signals = [whole.step(index) for index in range(3)]
    assert set(signals[0]) == {"loss_g", "loss_d", "labelled", "judged"}
    first.step(0)
    saved = first.state()
    first.step(1)  # what was saved must not change with the trainer
    second.load_state(saved)
    assert signals[1:] == [second.step(1), second.step(2)]
    assert same_tensors(whole.state(), second.state())
    prior, again = whole.finish(), second.finish()
    assert same_tensors(prior.state_dict(), again.state_dict())
    assert not prior.training and not any(parameter.requires_grad for parameter in prior.parameters())
    assert prior.critic.closeness_M.gt(0).all()
    x_BCHW = prior.render(prior.to_latent(prior.sample(4, generator(0))))
    assert x_BCHW.shape == (4, world.channels, world.size, world.size)
    alone = torch.cat([prior.discriminator(x_1CHW) for x_1CHW in x_BCHW.split(1)])
    torch.testing.assert_close(alone, prior.discriminator(x_BCHW), atol=1e-5, rtol=0)
    loaded = _prior({}, world)
    loaded.load_state_dict(prior.state_dict())


def test_the_target_is_asked_for_each_labelled_batch_and_shapes_the_result() -> None:
    target, trainer = WORLD.target(), None
    trainer = _trainer(target=target)
    trainer.step(0)
    assert vars(target.ledger) == {"forward": 2 * 4, "backward": 0, "render": 0}
    other = _trainer(target=TargetView(WORLD.trained(seed=1), Access.WHITE_BOX))
    other.step(0)
    assert not same_tensors(trainer.state(), other.state())


def test_the_critic_loss_is_its_formula() -> None:
    trainer = _trainer()
    real, unlabelled = trainer.real("labelled", 1), trainer.real("unlabelled", 1)
    with torch.no_grad():
        fake = trainer.fake("critic noise", 1)
        d, u, f = (trainer.net(x).double().numpy() for x in (real, unlabelled, fake))
        t = WORLD.target().logits(real).double().numpy()
    q = np.exp(t - _lse(t)[:, None])
    expected = -(q * (d - _lse(d)[:, None])).sum(1).mean() + 0.5 * (
        np.log1p(np.exp(_lse(u))).mean() - _lse(u).mean() + np.log1p(np.exp(_lse(f))).mean()
    )
    assert trainer.critic_loss(1)[0].item() == pytest.approx(expected, rel=1e-5)


def test_the_discriminator_learns_what_the_target_says() -> None:
    trainer = _trainer(steps=40, lr=0.003, batch=12, width=8)
    losses = [trainer.step(index)["labelled"] for index in range(40)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_wrong_uses_are_explained() -> None:
    model = build(KedGanPrior, TINY)
    with pytest.raises(UsageError, match="at least 16"):
        model.build(channels=3, size=8, classes=2)
    prior = build(DcganPrior, {"width": 2}).build(channels=3, size=16)
    with pytest.raises(TypeError, match="KedGanPrior"):
        model.trainer(prior, WORLD.images(), target=WORLD.target(), seed=0, device=CPU)


def test_parameters_are_documented_and_presets_build() -> None:
    assert all(row.doc for row in describe(KedGanPrior))
    for settings in KedGanPrior.presets.values():
        made = build(KedGanPrior, settings)
        assert build(KedGanPrior, canonical(made)) == made
