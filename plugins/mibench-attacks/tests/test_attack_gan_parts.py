"""What GMI, KED-MI, LOMMA and PLG-MI share: losses of a GAN, searches of noise, views."""

import numpy as np
import pytest
import torch
from mibench_attacks.losses.augmented import AugmentedIdentity
from mibench_attacks.losses.objectives import max_margin, topk_margin
from mibench_attacks.methods.gmi import GenerativeInversion
from mibench_attacks.methods.ked_mi import DistributionalInversion
from mibench_attacks.search.flow_search import FlowSearch
from mibench_attacks.search.gan_inversion import GanObjective, discriminator_of, gan_loss
from mibench_attacks.search.host_search import HostSearch
from mibench_attacks.search.latent_search import GaussianSearch, PointSearch
from mibench_attacks.search.multi_start import MultiStartSearch
from mibench_attacks.students.ensemble import EnsembleObjective
from mibench_attacks.views.transforms import RandomView
from torch import nn
from torch.nn import Parameter
from torch.testing import assert_close

from mibench.api import Ledger, UsageError, generator
from mibench.testing import TinyWorld

WORLD = TinyWorld()


class Contrast(nn.Module):
    """A discriminator whose output is ten times the difference between the upper and the lower half, both signs."""

    def forward(self, x_BCHW):
        half = x_BCHW.shape[2] // 2
        return 10 * (x_BCHW[:, :, :half].mean((1, 2, 3)) - x_BCHW[:, :, half:].mean((1, 2, 3)))


def test_the_terms_of_a_gan_objective_in_float64():
    x, _ = WORLD.batch(6)
    x, target = torch.cat([x, x.flip(2)]), WORLD.target()  # D has both signs
    d = Contrast()(x).double().numpy()
    assert d.min() < -0.1 < 0.1 < d.max()
    logits = target.logits(x).double().numpy()
    cross_entropy = np.log(np.exp(logits).sum(1)) - logits[:, 2]
    critic = GanObjective(id_weight=7.0).of_class(2, target, Contrast())
    logit = GanObjective(id_weight=7.0, realism="logit").of_class(2, target, Contrast())
    np.testing.assert_allclose(critic.identity(x), 7 * cross_entropy, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(critic.realism(x), -d, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logit.realism(x), np.log1p(np.exp(-d)), rtol=1e-5)
    rivals = np.delete(logits, 2, axis=1).max(1)
    margin = GanObjective(id_weight=1.0, loss="max_margin").of_class(2, target, Contrast())
    np.testing.assert_allclose(margin.identity(x), rivals - logits[:, 2], rtol=1e-4, atol=1e-5)


def test_losses_of_a_gan_belong_to_images_and_weights_scale_gradients():
    x = WORLD.batch(4)[0]
    gradients = []
    for weight in (1.0, 100.0):
        leaf = x.clone().requires_grad_(True)
        loss = gan_loss(lambda x: x.square().flatten(1).sum(1), Contrast(), "critic", id_weight=weight)
        both = loss.identity(leaf) + loss.realism(leaf)
        assert both.shape == (4,)
        (gradient,) = torch.autograd.grad(loss.identity(leaf).sum(), leaf)
        gradients.append(gradient)
        assert_close(both[1:2], loss.identity(leaf[1:2]) + loss.realism(leaf[1:2]))
    assert_close(gradients[1], 100 * gradients[0])


def test_a_prior_without_a_discriminator_is_refused_with_a_remedy():
    with pytest.raises(UsageError, match=r"'mine' needs a prior with a discriminator.*Set mine.prior=dcgan"):
        discriminator_of(WORLD.prior(), "mine", remedy="prior=dcgan")


@pytest.mark.parametrize("host", ["gmi", "ked"])
def test_a_host_search_is_that_of_the_host(host):
    settings = HostSearch(candidates=3, steps=7, lr=0.3, samples=2, momentum=0.5, batch_ref=4, clip=0.8)
    expected = {
        "gmi": PointSearch(restarts=3, steps=7, lr=0.3, momentum=0.5, batch_ref=4, clip=0.8),
        "ked": GaussianSearch(samples=2, draws=3, steps=7, lr=0.3, clip=0.8),
    }[host]
    search = settings.of(host)
    assert search == expected
    assert (search.per_step, search.delivered, search.steps) == (3 if host == "gmi" else 2, 3, 7)


def test_only_the_box_of_gmi_needs_a_side():
    HostSearch(clip=0.0).check("ked", attack="mine")
    with pytest.raises(UsageError, match="attack 'mine': host 'gmi' searches within a box; set clip > 0"):
        HostSearch(clip=0.0).check("gmi", attack="mine")


def test_defaults_of_the_searches_are_those_of_the_papers():
    """GMI: Nesterov 0.02 and 0.9 over batches of 100, in [-1, 1]; KED-MI: Adam 0.02, five draws, no cut."""
    assert GenerativeInversion().search == PointSearch(
        restarts=5, steps=1500, lr=0.02, momentum=0.9, batch_ref=100, clip=1.0
    )
    assert DistributionalInversion().search == GaussianSearch(samples=1, draws=5, steps=1500, lr=0.02, clip=0.0)
    assert HostSearch() == HostSearch(
        candidates=5, steps=2400, lr=0.02, samples=1, momentum=0.9, batch_ref=60, clip=1.0
    )


def test_several_starts_follow_torch_adam_each_on_its_own():
    search, centre = MultiStartSearch(restarts=3, steps=9, lr=0.1), torch.tensor([1.0, -1.0])
    start = torch.randn(3, 2, generator=generator("starts"))

    def loss(z_BZ, rows, step):
        return (z_BZ - centre).square().sum(1) * torch.tensor([1.0, 10.0, 100.0])[rows]

    found = search.run(start, loss, 0, WORLD.attack_context(), batch=2, ledger=Ledger())
    for row in range(3):
        z = start[row].clone().requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=0.1)
        for _ in range(9):
            optimizer.zero_grad()
            ((z - centre).square().sum() * 10.0**row).backward()
            optimizer.step()
        assert_close(found.z_NZ[row], z.detach())
    assert len(found.trace["loss"]) == 9


def test_the_views_of_plg_mi_are_drawn_per_image_and_averaged():
    objective = AugmentedIdentity(views=3, crop_scale=(0.5, 0.9), flip=0.25, rotate=10.0, jitter=0.1).objective()
    assert objective.views == 3
    assert objective.view == RandomView(scale=(0.5, 0.9), flip=0.25, rotate=10.0, jitter=0.1, per_sample=True)
    assert objective.loss is max_margin
    x, target = WORLD.batch(4)[0], WORLD.target()
    draws = objective.draw(4, 16, generator("views"))
    each = [max_margin(target.logits(draw.apply(x)), torch.full((4,), 1)) for draw in draws]
    assert_close(objective(x, 1, target, draws), (each[0] + each[1] + each[2]) / 3)


def test_the_number_of_other_classes_reaches_the_margin():
    logits, y = torch.randn(5, 6, generator=generator("logits")), torch.arange(5)
    loss = AugmentedIdentity(loss="topk_margin", topk=3).objective().loss
    others = np.sort(np.array([np.delete(row, label) for row, label in zip(logits.numpy(), y, strict=True)]), axis=1)
    expected = others[:, -3:].mean(1) - logits[y, y].numpy()
    np.testing.assert_allclose(loss(logits, y), expected, rtol=1e-5)
    assert_close(loss(logits, y), topk_margin(logits, y, k=3))


@pytest.mark.parametrize("scale", [(0.9, 0.5), (0.0, 1.0), (0.5, 1.5)])
def test_impossible_views_are_refused_when_the_group_is_made(scale):
    with pytest.raises(UsageError, match="crop scale"):
        AugmentedIdentity(crop_scale=scale)


@pytest.mark.parametrize(("name", "expected"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_the_optimiser_of_flows_is_the_one_that_is_named(name, expected):
    search = FlowSearch(optimizer=name, lr=0.3, momentum=0.4, steps=7).descent()
    made = search.optimizer([Parameter(torch.zeros(1))])
    assert type(made) is expected
    assert made.defaults["lr"] == 0.3
    assert made.defaults.get("momentum", 0.4) == 0.4
    assert search.steps == 7


def test_the_regulariser_pulls_features_towards_the_mean():
    """``d/df of lam mean_j (f_j - mu_j)^2`` is ``2 lam (f - mu) / D``, beside the gradient of the logits."""

    class Linear:
        """Features are the pixels, logits are the first four of them."""

        def logits_and_features(self, x_BCHW):
            return x_BCHW.flatten(1)[:, :4], x_BCHW.flatten(1)

    x = torch.randn(3, 1, 2, 4, generator=generator("pixels"), dtype=torch.float64).float().requires_grad_(True)
    mean, students = torch.linspace(-1, 1, 8), [lambda x: 2 * x.flatten(1)[:, :4]]
    loss = EnsembleObjective(lam=0.7).of_class(1, Linear(), students, mean)(x)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    flat = x.detach().double().flatten(1)
    expected = 2 * 0.7 * (flat - mean.double()) / 8
    expected[:, 1] -= (1 + 2) / 2  # the mean over target and student of -l_y
    assert_close(gradient.double().flatten(1), expected, rtol=1e-5, atol=1e-6)
    without = EnsembleObjective(lam=0.7, logit=False).of_class(1, Linear(), [], mean)(x)
    assert_close(without, -x.flatten(1)[:, :4].log_softmax(1)[:, 1])
