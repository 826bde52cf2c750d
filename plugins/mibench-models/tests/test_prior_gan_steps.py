"""Steps of the GANs' trainings, recomputed: losses from their formulas, parameters by Adam in float64."""

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.dcgan.alternating import AlternatingTraining
from mibench_models.priors.dcgan.component import DcganPrior
from mibench_models.priors.dcgan.training import WassersteinTraining
from mibench_models.priors.ked_gan.component import KedGanPrior
from mibench_models.priors.ked_gan.training import CLOSENESS_BATCHES, KedTraining
from mibench_models.priors.parts.target_guidance import changed
from mibench_models.priors.pca import LinearFaces
from mibench_models.priors.plg_cgan.component import PlgCgan
from mibench_models.priors.plg_cgan.training import CganTraining
from torch.nn.functional import one_hot

from mibench.api import MibenchError, TensorImages, UsageError, generator, seeded
from mibench.api.params import build
from mibench.api.prior import build_prior, prior_trainer
from mibench.testing import TinyWorld
from mibench.testing.checks import same_tensors, snapshot

WORLD = TinyWorld()
SETTINGS = {
    DcganPrior: {"z_dim": 6, "width": 4, "steps": 3, "n_critic": 2, "batch": 4, "lr": 1e-3},
    KedGanPrior: {"z_dim": 6, "width": 4, "steps": 3, "n_critic": 2, "batch": 4, "kernels": 3, "kernel_size": 2},
    PlgCgan: {"z_dim": 6, "width": 2, "top": 5, "steps": 4, "critic_steps": 2, "batch": 6},
}


def trainer(component, **settings):
    model = build(component, SETTINGS[component] | settings)
    with seeded("init"):
        prior = build_prior(model, channels=WORLD.channels, size=WORLD.size, classes=WORLD.classes)
    images = WORLD.images("public")
    return prior_trainer(model, prior, images, seed=5, device=torch.device("cpu"), target=WORLD.target())


def gradients(loss, parameters):
    return [array(gradient) for gradient in torch.autograd.grad(loss, parameters)]


def moved(parameters, slopes, lr, betas):
    """Return the parameters after the first step of Adam."""
    return [by_hand.Adam(lr, betas).moved(array(p), g) for p, g in zip(parameters, slopes, strict=True)]


def close(parameters, expected, lr):
    """Compare with what Adam would do; where a gradient is all rounding, its sign is too."""
    apart = np.concatenate([np.abs(array(p) - e).ravel() for p, e in zip(parameters, expected, strict=True)])
    assert np.quantile(apart, 0.98) < 0.02 * lr, f"{np.quantile(apart, 0.98) / lr:.3f} of a step"


@pytest.mark.parametrize("component", [DcganPrior, KedGanPrior])
def test_a_step_is_adam_on_the_critics_loss_then_on_the_generators(component):
    made, twin = trainer(component, n_critic=1), trainer(component, n_critic=1)
    critic, net = list(twin.prior.critic.parameters()), list(twin.prior.generator.parameters())
    loss_d, _ = twin.critic_loss(0)
    expected_d = moved(critic, gradients(loss_d, critic), twin.training.lr, (0.5, 0.999))
    signals = made.step(0)
    assert signals["loss_d"] == pytest.approx(loss_d.item(), rel=1e-5)
    close(made.prior.critic.parameters(), expected_d, made.training.lr)
    with torch.no_grad():  # the generator descends the loss of the moved critic
        for parameter, value in zip(critic, made.prior.critic.parameters(), strict=True):
            parameter.copy_(value)
    loss_g = twin.generator_loss(0)
    assert signals["loss_g"] == pytest.approx(loss_g.item(), rel=1e-4, abs=1e-5)
    expected_g = moved(net, gradients(loss_g, net), twin.training.lr, (0.5, 0.999))
    close(made.prior.generator.parameters(), expected_g, made.training.lr)


@pytest.mark.parametrize("component", [DcganPrior, KedGanPrior])
def test_each_critic_update_of_a_training_has_draws_of_its_own(component):
    made, seen = trainer(component), []
    honest = made.critic_loss
    made.critic_loss = lambda update: seen.append(update) or honest(update)
    for index in range(3):
        made.step(index)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert made.total_steps == 3


def test_the_generators_step_leaves_the_critic_alone_and_trainable():
    made = trainer(DcganPrior)
    made.step(0)
    before = snapshot(made.prior.critic.state_dict())
    made.generator_loss(1).backward()
    assert same_tensors(before, snapshot(made.prior.critic.state_dict()))
    assert all(parameter.requires_grad for parameter in made.prior.parameters())


def test_public_images_are_drawn_with_replacement_by_purpose_and_update():
    made = trainer(DcganPrior, batch=24)
    rows = torch.randint(24, (24,), generator=generator(5, "real", 3))
    assert torch.equal(made.real("real", 3), WORLD.images("public").images(rows))
    assert len(rows.unique()) < 24
    assert not torch.equal(made.real("real", 3), made.real("real", 4))
    assert not torch.equal(made.real("real", 3), made.real("other", 3))


def test_mirrored_images_are_those_of_the_same_draw():
    made = trainer(DcganPrior, batch=64, mirror=True)
    plain, mirrored = trainer(DcganPrior, batch=64).real("real", 0), made.real("real", 0)
    same = (mirrored == plain).flatten(1).all(1)
    assert torch.equal(mirrored[~same], plain[~same].flip(3))
    assert 16 < same.sum() < 48


def test_generated_images_follow_the_noise_of_their_purpose():
    made = trainer(DcganPrior)
    z = torch.randn(4, 6, generator=generator(5, "critic noise", 2))
    torch.testing.assert_close(made.fake("critic noise", 2), made.prior.generator(z))


def test_the_penalty_weighs_in_the_critics_loss():
    losses = {}
    for penalty in (0.0, 10.0):
        loss, signals = trainer(DcganPrior, penalty=penalty).critic_loss(0)
        losses[penalty] = loss.item()
        assert loss.item() == pytest.approx(penalty * signals["penalty"].item() - signals["distance"].item(), rel=1e-5)
    assert losses[0.0] != losses[10.0]


@pytest.mark.parametrize("betas", [(1.0, 0.9), (-0.1, 0.9), (0.5, 1.0), (0.5, -1.0)])
@pytest.mark.parametrize("training", [AlternatingTraining, WassersteinTraining, KedTraining])
def test_betas_out_of_range_are_refused(training, betas):
    with pytest.raises(UsageError, match=r"betas in \[0, 1\)"):
        training(betas=betas)
    assert training(betas=(0.0, 0.0)).betas == (0.0, 0.0)


def test_trainings_need_images_and_a_prior_of_their_own():
    empty = TensorImages(torch.zeros(0, 3, 16, 16, dtype=torch.uint8), torch.zeros(0, dtype=torch.long), 1)
    where = {"seed": 0, "device": torch.device("cpu"), "target": WORLD.target()}
    for component, error in ((DcganPrior, MibenchError), (KedGanPrior, MibenchError)):
        model = build(component, SETTINGS[component])
        prior = build_prior(model, channels=3, size=16, classes=4)
        with pytest.raises(error, match="at least one public image"):
            prior_trainer(model, prior, empty, **where)
    for component in SETTINGS:
        with pytest.raises(TypeError, match="LinearFaces"):
            other = LinearFaces(2, channels=3, size=16)
            prior_trainer(build(component, SETTINGS[component]), other, WORLD.images(), **where)
    with pytest.raises(UsageError, match="target=TargetView"):
        model = build(KedGanPrior, SETTINGS[KedGanPrior])
        model.trainer(
            build_prior(model, channels=3, size=16, classes=4), WORLD.images(), seed=0, device=where["device"]
        )


# -- KED-MI -----------------------------------------------------------------------------------------------------------


def test_ked_generators_loss_is_its_formula():
    made = trainer(KedGanPrior, entropy_weight=0.3)
    with torch.no_grad():
        real, fake = array(made.net.features(made.real("matched", 2))), made.fake("generator noise", 2)
        features = made.net.features(fake)
        logits = array(made.net.classify(features, made.net.closeness(features)))
    p = by_hand.softmax(logits)
    expected = np.abs(array(features).mean(0) - real.mean(0)).mean() - 0.3 * (p * np.log(p)).sum()
    assert made.generator_loss(2).item() == pytest.approx(expected, rel=1e-5)


def test_ked_closeness_is_averaged_over_public_batches():
    made = trainer(KedGanPrior)
    made.step(0)
    net = made.net
    with torch.no_grad():
        means = [
            net.closeness(net.features(made.real("closeness", index))).mean(0).double()
            for index in range(CLOSENESS_BATCHES)
        ]
    prior = made.finish()
    assert CLOSENESS_BATCHES == 16
    torch.testing.assert_close(prior.critic.closeness_M.double(), torch.stack(means).mean(0), atol=1e-6, rtol=1e-5)


def test_ked_weight_of_real_or_fake():
    for weight in (0.0, 2.0):
        loss, signals = trainer(KedGanPrior, real_weight=weight).critic_loss(0)
        assert loss.item() == pytest.approx(signals["labelled"].item() + weight * signals["judged"].item(), rel=1e-5)


# -- PLG-MI -----------------------------------------------------------------------------------------------------------


def test_plg_critic_step_is_adam_on_the_hinge_loss():
    made, twin = trainer(PlgCgan, critic_lr=3e-3), trainer(PlgCgan, critic_lr=3e-3)
    with torch.no_grad():
        fake, fake_y = twin._fake("d", 2, 1)
    real, real_y = twin._real(2, 1)
    critic = list(twin.prior.critic.parameters())
    fake_B = twin.prior.critic(fake, one_hot(fake_y, 4).float())
    real_B = twin.prior.critic(real, one_hot(real_y, 4).float())
    loss = (1 - real_B).clamp(min=0).mean() + (1 + fake_B).clamp(min=0).mean()
    expected = moved(critic, gradients(loss, critic), 3e-3, (0.0, 0.9))
    before = snapshot(made.prior.generator.state_dict())
    signals = made._critic_step(2, 1)
    assert signals["loss_d"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert signals["real"].item() == pytest.approx(real_B.mean().item(), rel=1e-4, abs=1e-6)
    assert signals["fake"].item() == pytest.approx(fake_B.mean().item(), rel=1e-4, abs=1e-6)
    close(made.prior.critic.parameters(), expected, 3e-3)
    weights = {name for name, _ in made.prior.generator.named_parameters()}
    after = made.prior.generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in weights)


def test_plg_generator_step_is_adam_on_critic_and_margin():
    made, twin = trainer(PlgCgan, alpha=0.6, lr=2e-3), trainer(PlgCgan, alpha=0.6, lr=2e-3)
    net = list(twin.prior.generator.parameters())
    fake, y = twin._fake("g", 1)
    opinion = -twin.prior.critic(fake, one_hot(y, 4).float()).mean()
    logits = WORLD.trained()(changed(fake, generator(5, "change", 1)))
    others = logits.masked_fill(one_hot(y, 4).bool(), -torch.inf).amax(1)
    margin = (others - logits[torch.arange(6), y]).mean()
    expected = moved(net, gradients(opinion + 0.6 * margin, net), 2e-3, (0.0, 0.9))
    before = snapshot(dict(made.prior.critic.named_parameters()))
    signals = made._generator_step(1)
    assert signals["margin"].item() == pytest.approx(margin.item(), rel=1e-4)
    close(made.prior.generator.parameters(), expected, 2e-3)
    assert same_tensors(before, snapshot(dict(made.prior.critic.named_parameters())))
    assert all(parameter.requires_grad for parameter in made.prior.critic.parameters())


def test_plg_draws_noise_and_classes_from_one_generator():
    made, rng = trainer(PlgCgan), generator(5, "d latent", 3, 1)
    z, y = torch.randn(6, 6, generator=rng), torch.randint(4, (6,), generator=rng)
    fake, found = made._fake("d", 3, 1)
    assert torch.equal(found, y)
    torch.testing.assert_close(fake, made.prior.generator(z, one_hot(y, 4).float()))


def test_plg_order_and_number_of_steps():
    made, calls = trainer(PlgCgan, critic_steps=3), []
    made._generator_step = lambda index: calls.append(("g", index)) or {"loss_g": torch.tensor(0.0)}
    made._critic_step = lambda index, turn: calls.append(("d", index, turn)) or {"loss_d": torch.tensor(float(turn))}
    assert made.step(7) == {"loss_g": 0.0, "loss_d": 2.0}
    assert calls == [("g", 7), ("d", 7, 0), ("d", 7, 1), ("d", 7, 2)]


def test_plg_without_margin_asks_for_pseudo_labels_only():
    made = trainer(PlgCgan, alpha=0.0)
    signals = made.step(0)
    assert "margin" not in signals
    assert vars(made.target.ledger) == {"forward": 24, "backward": 0, "render": 0}


def test_plg_settings_that_published_trainings_have():
    assert CganTraining() == CganTraining(
        top=30, steps=30_000, critic_steps=5, batch=64, lr=2e-4, critic_lr=2e-4, betas=(0.0, 0.9), alpha=0.2
    )


def test_divergence_says_what_to_change():
    made = trainer(PlgCgan)
    made.prior.generator.paint.bias.data.fill_(torch.nan)
    with pytest.raises(MibenchError, match="lower the learning rates or alpha"):
        made.step(0)
    spoilt = trainer(DcganPrior)
    spoilt.prior.generator.image[0].bias.data.fill_(torch.nan)
    with pytest.raises(MibenchError, match="lower lr"):
        spoilt.step(0)
