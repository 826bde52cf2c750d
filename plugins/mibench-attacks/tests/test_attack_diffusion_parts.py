"""The parts of Diff-MI around a denoiser that is linear, so that every step can be calculated by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mibench_attacks.diffusion.denoiser import denoiser_of
from mibench_attacks.diffusion.losses import DiffMiLosses, TargetObjective
from mibench_attacks.diffusion.refinement import PGD_RADIUS, PGD_STEP, PGD_STEPS, Denoising, perturbed_towards
from mibench_attacks.views.alignment import Alignment
from torch.testing import assert_close

from mibench.api import Access, UsageError, generator
from mibench.testing import TinyWorld

WORLD = TinyWorld()
SHAPE = (3, 16, 16)


class Linear:
    """Estimates noise as ``x (time / T) + label / 10 + guidance / 100``; denoised are half the noisy images."""

    image_shape = SHAPE
    share_T = torch.linspace(0.95, 0.05, 10)
    pseudo_KT = torch.arange(20).view(4, 5)

    def __init__(self):
        self.asked = []

    def noise_estimate(self, x_BCSS, time, labels_B, *, guidance):
        return x_BCSS * time / 10 + labels_B.view(-1, 1, 1, 1) / 10 + guidance / 100

    def denoise(self, x_BCSS, time, labels_B, *, guidance, steps):
        self.asked.append((len(x_BCSS), time, labels_B.tolist(), guidance, steps))
        return x_BCSS / 2


def images(n=5, *name):
    return torch.rand(n, *SHAPE, generator=generator("diffusion", *name)) * 2 - 1


def losses(objective=TargetObjective(feature_weight=0.0, views=1), **more):  # noqa: B008
    settings = {
        "objective": objective, "alignment": Alignment(), "guidance": 3.0, "steps": 4, "restarts": 5, "label": 2,
        "prior": Linear(), "target": WORLD.target(), "ctx": WORLD.attack_context(), "features_D": None,
    }  # fmt: skip
    return DiffMiLosses(**settings | more)


@pytest.mark.parametrize("step", [0, 3])
def test_the_denoising_loss_is_the_mean_squared_error_of_the_estimate(step):
    made, x = losses(), images()
    shift = torch.randint(-50, 51, (), generator=made.ctx.rng("class", 2, "time", step)).item()
    left = (1 - step / 4) * (2 + np.cos(9 / np.pi * step / 4)) / 3
    time = min(max(int((200 + 800 * left + shift) / 1000 * 10), 1), 10)
    share = 0.95 - 0.1 * (time - 1)
    noise = torch.randn(5, *SHAPE, generator=made.ctx.rng("class", 2, "noise", step)).double().numpy()
    noisy = np.sqrt(share) * x.double().numpy() + np.sqrt(1 - share) * noise
    error = noisy * time / 10 + 0.2 + 0.03 - noise
    np.testing.assert_allclose(made.denoising(x, slice(0, 5), step), (error**2).mean((1, 2, 3)), rtol=1e-5)
    assert made.target.ledger.forward == 0


def test_draws_belong_to_rows_and_not_to_batches():
    made, x = losses(TargetObjective(feature_weight=0.0, views=2)), images()
    for loss, seen in ((made.denoising, x), (made.identity, (x + 1) / 2)):
        whole = loss(seen, slice(0, 5), 1)
        parts = torch.cat([loss(seen[rows], rows, 1) for rows in (slice(0, 2), slice(2, 5))])
        assert_close(parts, whole, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(loss(seen, slice(0, 5), 2), whole)  # another step draws anew


def test_the_distance_of_features_is_added_with_its_weight():
    plain = losses()
    features = torch.randn(WORLD.trained().features(images()).shape[1], generator=generator("p"))
    weighted = losses(TargetObjective(feature_weight=0.3, views=1), features_D=features)
    x = (images() + 1) / 2
    difference = weighted.identity(x, slice(0, 5), 0) - plain.identity(x, slice(0, 5), 0)
    # the same view, seen by an objective of the features alone
    far = losses(TargetObjective(feature_weight=0.6, views=1), features_D=features)
    twice = far.identity(x, slice(0, 5), 0) - plain.identity(x, slice(0, 5), 0)
    assert (difference > 0).all()
    assert_close(twice, 2 * difference, rtol=1e-3, atol=1e-4)


def test_aligned_gradients_are_means_over_copies():
    x = (images() + 1) / 2
    made = losses(alignment=Alignment(kind="paa", n_aug=3, noise=0.05))
    copies = made.alignment.draw(5, 3, 16, made.ctx.rng("class", 2, "align", 0))
    plain = losses()
    expected = torch.stack([plain.identity(copy.apply(x), slice(0, 5), 0) for copy in copies]).mean(0)
    assert_close(made.identity(x, slice(0, 5), 0), expected, rtol=1e-5, atol=1e-5)
    assert made.target.ledger.forward == 15


@pytest.mark.parametrize("top", [1, 4])
def test_class_features_are_asked_for_once_in_batches(top):
    target, ctx, prior = WORLD.target(), WORLD.attack_context(), Linear()
    objective = TargetObjective(top=top)
    found = objective.class_features(3, prior, target, ctx, batch=2)
    truth = WORLD.trained().features(ctx.public.images(torch.arange(15, 15 + top))).double().mean(0)
    assert_close(found.double(), truth, rtol=1e-5, atol=1e-5)
    assert vars(target.ledger) == {"forward": top, "backward": 0, "render": 0}
    assert not found.requires_grad


def test_without_weight_features_are_not_asked_for():
    target, ctx = WORLD.target(), WORLD.attack_context()
    ctx.public = None
    assert TargetObjective(feature_weight=0.0).class_features(0, Linear(), target, ctx, batch=2) is None
    assert TargetObjective(feature_weight=0.0).public_images == target.ledger.forward == 0
    with pytest.raises(UsageError, match="needs public images unless feature_weight=0"):
        TargetObjective().class_features(0, Linear(), target, ctx, batch=2)


def refined(denoising, prior, batch=2):
    return denoising.refine(images(), 3, prior, generator("refine"), batch=batch)


def test_refinement_adds_noise_of_its_time_and_takes_it_away():
    prior = Linear()
    found = refined(Denoising(refine_from=300, refine_steps=2), prior)
    noise = torch.randn(5, *SHAPE, generator=generator("refine")).double()
    share = 0.95 - 0.1 * 2  # time 3 of 10
    assert_close(found.double(), (share**0.5 * images().double() + (1 - share) ** 0.5 * noise) / 2, atol=1e-6, rtol=0)
    assert prior.asked == [(2, 3, [3, 3], 3.0, 2), (2, 3, [3, 3], 3.0, 2), (1, 3, [3], 3.0, 2)]
    whole = refined(Denoising(refine_from=300, refine_steps=2), Linear(), batch=5)
    assert_close(found, whole, atol=0, rtol=0)


def test_refinement_can_be_left_out():
    prior, x = Linear(), images()
    off = Denoising(refine_from=0)
    assert off.refine(x, 3, prior, generator("refine"), batch=2) is x
    assert (prior.asked, off.estimates, Denoising().estimates) == ([], 0, 10)


def test_a_prior_with_too_few_times_is_refused():
    Denoising(refine_from=300, refine_steps=3).check(10)
    Denoising(refine_from=0, refine_steps=30).check(10)
    with pytest.raises(UsageError, match="refine_from is time 3 of this prior; lower refine_steps"):
        Denoising(refine_from=300, refine_steps=4).check(10)


def test_a_denoiser_is_recognised_by_what_it_can_do():
    assert isinstance(denoiser_of(Linear(), "diff-mi", classes=4, top=5), Linear)
    for classes, top in ((5, 1), (4, 6)):
        with pytest.raises(
            UsageError, match=rf"expected a prior with {classes} classes and at least top={top}.*4 and 5"
        ):
            denoiser_of(Linear(), "diff-mi", classes=classes, top=top)
    incomplete = SimpleNamespace(image_shape=SHAPE, share_T=Linear.share_T, pseudo_KT=Linear.pseudo_KT, denoise=len)
    with pytest.raises(UsageError, match=r"'diff-mi' needs a denoiser.*Set diff-mi.prior=diffusion"):
        denoiser_of(incomplete, "diff-mi", classes=4, top=1)


def test_the_last_perturbation_is_targeted_l2_pgd_by_hand():
    """Ten steps of 0.1 along the normalised gradient of -log p, in a ball of 0.5 and in [0, 1]; in float64."""
    assert (PGD_STEPS, PGD_RADIUS, PGD_STEP) == (10, 0.5, 0.1)
    world = TinyWorld(channels=1, size=8)
    x = 0.3 + 0.4 * torch.rand(3, 1, 8, 8, generator=generator("pgd"))
    weights = torch.randn(4, 64, generator=generator("linear"))
    target = world.target(Access.WHITE_BOX)
    target.logits = lambda x_BCHW: x_BCHW.flatten(1) @ weights.T.to(x_BCHW)
    found = perturbed_towards(x, 1, target, generator("start"))

    rng = generator("start")
    direction = torch.randn(x.shape, generator=rng).double()
    radius = torch.rand((3, 1, 1, 1), generator=rng).double() ** (1 / 64)
    start = 0.5 * radius * direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    clean, w = x.double().numpy().reshape(3, 64), weights.double().numpy()

    def project(moved):
        offset = moved - clean
        length = np.linalg.norm(offset, axis=1, keepdims=True)
        return np.clip(clean + offset * np.minimum(1, 0.5 / length), 0, 1)

    moved = project(clean + start.numpy().reshape(3, 64))
    for _ in range(10):
        logits = moved @ w.T
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = (p - np.eye(4)[1]) @ w
        moved = project(moved - 0.1 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True))
    np.testing.assert_allclose(found.flatten(1), moved, atol=1e-5)
