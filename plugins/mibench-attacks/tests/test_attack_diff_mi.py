"""Diff-MI: its two losses on pixels, its parts against hand calculations, the contract of attacks."""

import math

import numpy as np
import pytest
import torch
from mibench_attacks.diffusion.schedule import annealed_time, noised, refine_time
from mibench_attacks.methods.diff_mi import DiffusionInversion
from mibench_attacks.search.alternating_search import GradientNormClip
from mibench_attacks.views.blurring import BlurDraw, blurred
from mibench_models.priors.diffusion.component import Diffusion
from mibench_models.priors.diffusion.prior import DiffusionPrior

from mibench.api import UsageError, freeze, generator, run_attack, seeded
from mibench.api.params import build
from mibench.testing import AttackContract, TinyWorld

SMALL = {"restarts": 4, "final": 3, "steps": 2, "views": 2, "top": 3, "refine_steps": 2, "batch": 3}


def denoiser(world: TinyWorld = TinyWorld(), **more: object) -> DiffusionPrior:  # noqa: B008
    settings = {"width": 4, "factors": (1, 2), "blocks": 1, "attention": 1, "patch": 2, "top": 4, "times": 100}
    with seeded("denoiser"):
        prior = build(Diffusion, settings | more).build(channels=world.channels, size=world.size, classes=world.classes)
        for weights in prior.net.parameters():
            if not weights.any():  # the convolutions that begin at 0
                torch.nn.init.normal_(weights, std=0.05)
    prior.pseudo_KT.copy_(torch.arange(prior.pseudo_KT.numel()).view_as(prior.pseudo_KT) % 7)
    return freeze(prior)


def made(**more: object) -> DiffusionInversion:
    return build(DiffusionInversion, SMALL | more)


class TestContract(AttackContract):
    component = DiffusionInversion
    settings = SMALL

    def prior(self):
        return denoiser(self.world)


class TestContractGrey(TestContract):
    world = TinyWorld(channels=1)
    settings = SMALL | {"feature_weight": 0.0, "refine_from": 0, "post_pgd": True}


def attacked(attack, classes=(2, 0), prior=None):
    world = TinyWorld()
    target = world.target()
    return list(run_attack(attack, classes, target, prior or denoiser(), world.attack_context(seed=4))), target


@pytest.mark.parametrize(
    "more", [{}, {"align": "paa", "n_aug": 2}, {"feature_weight": 0.0, "post_pgd": True}, {"refine_from": 0}]
)
def test_cost_is_exact(more):
    attack = made(**more)
    prior = denoiser()
    passed = []
    prior.net.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
    results, target = attacked(attack, prior=prior)
    assert vars(target.ledger) == dict(attack.cost(2))
    assert sum(passed) == 2 * attack.cost(2)["render"]  # with and without the class
    assert [result.spent.forward for result in results] == [attack.cost(1)["forward"]] * 2


def test_the_batch_changes_nothing():
    attack = made()
    for one, other in zip(attacked(attack)[0], attacked(made(batch=100))[0], strict=True):
        torch.testing.assert_close(one.images_NCHW, other.images_NCHW, atol=1e-3, rtol=0)


def test_both_losses_are_in_the_trace():
    (result,), _ = attacked(made(steps=3), [1])
    assert len(result.trace["loss"]) == len(result.trace["denoising"]) == 3


def test_pgd_moves_images_by_at_most_its_radius_and_only_when_asked():
    plain = attacked(made(final=4), [1])[0][0]
    moved = attacked(made(final=4, post_pgd=True), [1])[0][0]
    assert moved.scores_N.min() >= plain.scores_N.min()
    distance = torch.cdist(moved.images_NCHW.flatten(1), plain.images_NCHW.flatten(1)).amin(1)
    assert 0.1 < distance.max() <= 0.5 + 1e-5


def test_priors_that_cannot_serve_are_refused():
    with pytest.raises(UsageError, match="prior=diffusion"):
        attacked(made(), prior=TinyWorld().prior())
    with pytest.raises(UsageError, match="top=5"):
        attacked(made(top=5))
    with pytest.raises(UsageError, match="refine_steps"):
        attacked(made(refine_steps=11))
    with pytest.raises(UsageError, match="final <= restarts"):
        made(restarts=2, final=3)


def test_without_public_images_only_features_fail():
    world = TinyWorld()
    ctx = world.attack_context()
    ctx.public = None
    for weight, fails in ((0.0, False), (1.0, True)):
        attack = made(feature_weight=weight)
        run = run_attack(attack, [0], world.target(), denoiser(), ctx)
        if fails:
            with pytest.raises(UsageError, match="public images"):
                next(run)
        else:
            assert len(next(run).images_NCHW) == 3


def losses():
    world = TinyWorld()
    return made()._losses(1, denoiser(), world.target(), world.attack_context()), world


def test_class_features_are_the_mean_over_its_first_public_images():
    case, world = losses()
    x = world.attack_context().public.images(case.prior.pseudo_KT[1, :3])
    truth = world.trained().features(x).double().mean(0)
    torch.testing.assert_close(case.features_D.double(), truth, atol=1e-5, rtol=1e-5)


def test_the_denoising_loss_by_hand():
    case, _ = losses()
    x = torch.rand(4, 3, 16, 16, generator=generator("x")) * 2 - 1
    found = case.denoising(x, slice(0, 4), 1)
    shift = torch.randint(-50, 51, (), generator=case.ctx.rng("class", 1, "time", 1)).item()
    time = annealed_time(0.5, 100, shift)
    noise = torch.randn(4, 3, 16, 16, generator=case.ctx.rng("class", 1, "noise", 1)).double()
    share = case.prior.share_T[time - 1].double()
    noisy = (share.sqrt() * x.double() + (1 - share).sqrt() * noise).float()
    y = torch.ones(4, dtype=torch.long)
    with_class, without = (
        case.prior.net(noisy, torch.full((4,), time), weights).double()
        for weights in (torch.nn.functional.one_hot(y, 4).float(), torch.zeros(4, 4))
    )
    truth = (without + 3 * (with_class - without) - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(found.double(), truth, atol=1e-4, rtol=1e-4)


def test_times_of_the_released_code():
    steps = 30
    for i in range(steps):
        t = ((steps - i) / 1.5 + (steps - i) / 3 * math.cos(3 / (10 * math.pi) * i)) / steps * 800 + 200
        assert annealed_time(i / steps, 1000, 0) in {int(t), int(t + 1e-9), int(t - 1e-9)}
    assert annealed_time(0, 1000, 50) == 1000
    assert annealed_time(1, 1000, -300) == 1
    assert annealed_time(0, 20, 0) == 20
    assert refine_time(100, 1000) == 100
    assert refine_time(0, 1000) == 1


def test_the_limit_of_gradients_by_hand():
    norm_clip = GradientNormClip(torch.zeros(3, 1, 2, 2), 1.25)
    gradient = torch.zeros(3, 1, 2, 2)
    gradient[:, 0, 0, 0] = torch.tensor([4.0, 2.0, 1.0])
    rows = slice(1, 3)
    assert norm_clip.recording(rows)(gradient[rows]) is not None
    norm_clip.recording(rows)(2 * gradient[rows])
    assert norm_clip.norm_N.isnan().tolist() == [True, False, False]
    assert norm_clip.norm_N[1:].tolist() == [3.0, 1.5]  # means of 2 and 4, of 1 and 2
    limited = norm_clip.clipping(rows)(torch.tensor([10.0, 0.5]).view(2, 1, 1, 1) * torch.ones(2, 1, 2, 2))
    torch.testing.assert_close(limited.flatten(1).norm(dim=1), torch.tensor([3.75, 1.0]))


def test_noise_and_blur_by_hand():
    x = torch.rand(2, 3, 9, 9, generator=generator("blur"))
    assert noised(torch.tensor(2.0), torch.tensor(1.0), torch.tensor(0.36)).item() == pytest.approx(0.6 * 2 + 0.8)
    taps = np.exp(-(np.arange(-3, 4) ** 2) / 18.0)
    taps /= taps.sum()
    padded = np.pad(x.double().numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    truth = sum(taps[i] * taps[j] * padded[:, :, i : i + 9, j : j + 9] for i in range(7) for j in range(7))
    np.testing.assert_allclose(blurred(x).numpy(), truth, atol=1e-6)


def test_views_are_cut_and_drawn_per_image():
    x = 3 * torch.rand(40, 1, 8, 8, generator=generator("views")) - 1
    draw = BlurDraw.drawn(40, 8, generator("draw"))
    seen = draw.apply(x)
    assert seen.min() == 0
    assert seen.max() == 1
    assert 10 < draw.blurs_N.sum() < 30
    torch.testing.assert_close(draw.part(slice(5, 9)).apply(x[5:9]), seen[5:9])


def test_the_targets_loss_by_hand():
    """Reference 14: margin to the mean of the k best rivals, plus the squared distance of features, over views."""
    attack = made(topk=2, feature_weight=0.7, lr=1e-12, steps=2)  # x stays
    (result,), _ = attacked(attack, [1])
    ctx, target = TinyWorld().attack_context(seed=4), TinyWorld().trained().double()
    prior = denoiser()
    wanted = target.features(ctx.public.images(prior.pseudo_KT[1, :3]).double()).mean(0)
    x = prior.sample(4, ctx.rng("class", 1, "start")).view(4, 3, 16, 16).double()
    for step in range(2):
        rng = ctx.rng("class", 1, "view", step)
        seen = [BlurDraw.drawn(4, 16, rng).apply((x + 1) / 2) for _ in range(2)]
        logits, features = (torch.stack([ask(view) for view in seen]) for ask in (target, target.features))
        margins = logits[..., [0, 2, 3]].sort(-1).values[..., 1:].mean(-1) - logits[..., 1]
        distances = ((features - wanted) ** 2).mean(-1)
        assert distances.mean() > 0.01
        assert result.trace["loss"][step] == pytest.approx((margins + 0.7 * distances).mean().item(), rel=1e-4)
