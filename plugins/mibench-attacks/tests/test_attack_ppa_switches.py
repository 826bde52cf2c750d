"""PPA's switches reach the search: what the target is shown, where latents start and how they move.

The prior's three style layers are the three colour channels of its image, and the target is linear in pixels, so that
everything can be followed by hand. Shapes: N candidates, T steps, L = 3 layers, W = 64, S = 8 pixels, K = 4 classes.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mibench_attacks.methods.ppa import PlugAndPlay
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.transforms.functional import resized_crop

from mibench.api import Access, Classifier, Prior, TargetView, generator
from mibench.api.params import build

SIDE, CLASSES, LABEL = 8, 4, 2
FULL_FRAME = {"crop_scale": (1.0, 1.0)}
TINY = {"pool": 6, "candidates": 3, "final": 3, "steps": 0, "draws": 1, "truncation": 1.0}


class Channels(Prior):
    """Layers u, 1 - u and u^2 of pixels u in [0.1, 0.9] become red, green and blue; remembers what it rendered."""

    latent_layers, latent_size, noise_size = 3, SIDE * SIDE, SIDE * SIDE

    def __init__(self) -> None:
        super().__init__()
        self.rendered: list[Tensor] = []

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        u_BW = 0.5 + 0.4 * z_BZ.tanh()
        return torch.stack([u_BW, 1 - u_BW, u_BW.square()], dim=1)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: object = None) -> Tensor:
        self.rendered.append(latent_BLW.detach().clone())
        return latent_BLW.unflatten(2, (SIDE, SIDE))


class Witness(TargetView):
    """A linear target that remembers the images it was shown."""

    def __init__(self) -> None:
        body = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES))
        body[1].weight.data = 0.3 * torch.randn(CLASSES, 3 * SIDE * SIDE, generator=generator("weights"))
        body[1].bias.data.zero_()
        super().__init__(Classifier(body, head="1", stage_names=["0"], mean=[0.0] * 3, std=[1.0] * 3), Access.WHITE_BOX)
        self.weights_KP = body[1].weight.detach().double().numpy()
        self.shown: list[Tensor] = []

    def logits(self, x_BCHW: Tensor) -> Tensor:
        self.shown.append(x_BCHW.detach().clone())
        return super().logits(x_BCHW)

    def by_hand(self, x_BCSS: Tensor) -> np.ndarray:
        """Logits (B, K) in float64."""
        return x_BCSS.flatten(1).double().numpy() @ self.weights_KP.T


class Run:
    """One class attacked: what was rendered and shown for the pool, and after it."""

    def __init__(self, ctx, **settings: object) -> None:
        attack = build(PlugAndPlay, {**TINY, **settings})
        self.target, prior = Witness(), Channels()
        self.pool = attack.prepare(self.target, prior, ctx)
        self.pool_shown, self.target.shown = self.target.shown, []
        prior.rendered = []
        self.result = attack.reconstruct(LABEL, self.pool, self.target, prior, ctx)
        self.shown, self.rendered = self.target.shown, prior.rendered

    def path_TNLW(self) -> Tensor:
        """Latents before each step, and after the last."""
        return torch.stack(self.rendered)


class Seen(NamedTuple):
    """A box in pixels, and whether what is in it was mirrored."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


def softmax(logits_BK: np.ndarray) -> np.ndarray:
    odds = np.exp(logits_BK)
    return odds / odds.sum(1, keepdims=True)


def views_of(image_CSS: Tensor, seen_VCSS: Sequence[Tensor]) -> list[Seen]:
    """Return the crop under which an image was seen each time, found among all of torchvision's; there must be one."""
    spans = [(low, size) for size in range(3, SIDE + 1) for low in range(SIDE - size + 1)]
    boxes = [(top, left, height, width) for (top, height), (left, width) in product(spans, spans)]
    plain = [resized_crop(image_CSS, *box, [SIDE, SIDE], antialias=True) for box in boxes]
    crops = torch.cat([torch.stack(plain), torch.stack(plain).flip(-1)])
    names = [Seen(*box, mirrored) for mirrored in (False, True) for box in boxes]
    distances = [(crops - seen_CSS).abs().amax((1, 2, 3)).min(0) for seen_CSS in seen_VCSS]
    assert all(nearest.values < 1e-5 for nearest in distances), "an image that was seen is no crop"
    return [names[nearest.indices] for nearest in distances]


@pytest.mark.parametrize("score_with", ["pool", "single_w"])
def test_the_pool_is_scored_by_what_score_with_says(ctx, score_with):
    run = Run(ctx, score_with=score_with)
    red_NW, green_NW, blue_NW = run.pool.latents_NLW.unbind(1)
    assert_close((red_NW + green_NW), torch.ones(6, 64))  # the pool keeps latents as drawn
    layers = [red_NW, green_NW, blue_NW] if score_with == "pool" else [red_NW] * 3
    plain_NCSS = torch.stack(layers, 1).unflatten(2, (SIDE, SIDE))
    assert_close(torch.cat(run.pool_shown), torch.cat([plain_NCSS, plain_NCSS.flip(-1)]))
    expected = (softmax(run.target.by_hand(plain_NCSS)) + softmax(run.target.by_hand(plain_NCSS.flip(-1)))) / 2
    np.testing.assert_allclose(run.pool.scores_NK.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("single_w", [True, False])
def test_a_single_w_begins_at_the_first_layer_and_a_w_per_layer_where_it_was_drawn(ctx, single_w):
    run = Run(ctx, single_w=single_w, steps=1)
    best_N = run.pool.scores_NK[:, LABEL].argsort(descending=True)[:3]
    drawn_NLW = run.pool.latents_NLW[best_N]
    assert_close(run.rendered[0], drawn_NLW[:, [0, 0, 0]] if single_w else drawn_NLW, atol=0, rtol=0)


def poincare(logits_K: np.ndarray) -> float:
    u, v = logits_K / np.abs(logits_K).sum(), np.eye(CLASSES)[LABEL] * (1 - 1e-4)
    return float(np.arccosh(1 + 2 * ((u - v) ** 2).sum() / ((1 - (u**2).sum()) * (1 - (v**2).sum()))))


def margin(logits_K: np.ndarray, rivals: int) -> float:
    return float(np.sort(np.delete(logits_K, LABEL))[-rivals:].mean() - logits_K[LABEL])


LOSSES = {
    "poincare": poincare,
    "ce": lambda logits_K: -np.log(softmax(logits_K[None])[0, LABEL]),
    "logit": lambda logits_K: -logits_K[LABEL],
    "max_margin": lambda logits_K: margin(logits_K, 1),
    "topk_margin": lambda logits_K: margin(logits_K, 2),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_that_is_asked_for_is_the_one_that_falls(ctx, loss):
    run = Run(ctx, **FULL_FRAME, loss=loss, topk=2, steps=2, lr=0.01)
    means = [
        np.mean([LOSSES[loss](logits_K) for logits_K in run.target.by_hand(w_NLW.unflatten(2, (SIDE, SIDE)))])
        for w_NLW in run.rendered
    ]
    np.testing.assert_allclose(run.result.trace["loss"], means[:2], rtol=1e-4)
    assert means[2] < means[1] < means[0]


def test_the_default_loss_is_poincare(ctx):
    run = Run(ctx, **FULL_FRAME, steps=1)
    logits_NK = run.target.by_hand(run.rendered[0].unflatten(2, (SIDE, SIDE)))
    assert run.result.trace["loss"][0] == pytest.approx(np.mean([poincare(logits_K) for logits_K in logits_NK]))


RATES = {
    "milestones": ({"steps": 6, "lr": 0.02, "milestones": (2, 4), "gamma": 0.5}, [0.02] * 2 + [0.01] * 2 + [0.005] * 2),
    "paper": (PlugAndPlay.presets["paper"], [0.005] * 50),
    "celeba": (PlugAndPlay.presets["celeba"], [0.005] * 70),
    "seed": (PlugAndPlay.presets["seed"], [0.005] * 30 + [0.0005] * 10 + [0.00005] * 10),
    "seed-dogs": (PlugAndPlay.presets["seed-dogs"], [0.01] * 30 + [0.001] * 10 + [0.0001] * 60),
}


@pytest.mark.parametrize("case", RATES)
def test_each_step_has_its_learning_rate(ctx, case):
    """The logit of a linear target has one gradient everywhere, and then Adam moves each coordinate by its rate."""
    settings, rates_T = RATES[case]
    run = Run(ctx, **{"steps": 50, **settings, "pool": 6, "loss": "logit", **FULL_FRAME})
    moved_TNLW = run.path_TNLW().double().diff(dim=0).abs()
    assert len(moved_TNLW) == len(rates_T)
    assert_close(moved_TNLW.mean((1, 2, 3)), torch.tensor(rates_T, dtype=torch.float64), atol=2e-7, rtol=1e-4)


@pytest.mark.parametrize("betas", [(0.1, 0.1), (0.5, 0.3), (0.9, 0.999)])
def test_adam_averages_gradients_by_its_betas(ctx, betas):
    run = Run(ctx, **FULL_FRAME, loss="ce", steps=4, lr=0.05, betas=betas)
    path_TNW = run.path_TNLW()[:, :, 0].double().numpy()
    w_NW, m_NW, v_NW = path_TNW[0], 0.0, 0.0
    for step in range(1, 5):
        p_NK = softmax(np.tile(w_NW, 3) @ run.target.weights_KP.T)
        slope_NCW = ((p_NK - np.eye(CLASSES)[LABEL]) @ run.target.weights_KP).reshape(3, 3, -1)
        g_NW = slope_NCW.sum(1)  # all three channels are the same w
        m_NW, v_NW = betas[0] * m_NW + (1 - betas[0]) * g_NW, betas[1] * v_NW + (1 - betas[1]) * g_NW**2
        w_NW = w_NW - 0.05 * (m_NW / (1 - betas[0] ** step)) / (np.sqrt(v_NW / (1 - betas[1] ** step)) + 1e-8)
        np.testing.assert_allclose(path_TNW[step], w_NW, atol=2e-4)


@pytest.mark.parametrize("per_sample", [False, True])
def test_the_search_shows_the_target_random_crops(ctx, per_sample):
    run = Run(ctx, crop_scale=(0.3, 0.6), per_sample=per_sample, views=2, candidates=2, final=2, steps=2)
    images_TNCSS = run.path_TNLW().unflatten(3, (SIDE, SIDE))
    shown_TVNCSS = torch.stack(run.shown[:4]).unflatten(0, (2, 2))  # two views in each of two steps
    seen = [[views_of(images_TNCSS[t, n], shown_TVNCSS[t, :, n]) for n in range(2)] for t in range(2)]
    views = [view for of_step in seen for of_image in of_step for view in of_image]
    for view in views:  # 30 and 60 % of 8 x 8 are squares of 4.4 and 6.2 pixels
        assert view.height == view.width and 4 <= view.height <= 6 and not view.mirrored
    assert len({view[:4] for view in views}) > 2
    assert [first == second for first, second in seen] == [not per_sample] * 2


def test_the_final_selection_averages_the_confidence_in_strong_views(ctx):
    run = Run(ctx, draws=10)
    assert len(run.shown) == 10
    views = views_of(run.rendered[0][0].unflatten(1, (SIDE, SIDE)), [seen_NCSS[0] for seen_NCSS in run.shown])
    for view in views:  # sides were rounded to pixels
        assert (view.height + 0.5) * (view.width + 0.5) >= 0.5 * 64
        assert (view.height - 0.5) * (view.width - 0.5) <= 0.9 * 64
        assert (view.width + 0.5) / (view.height - 0.5) >= 0.8
        assert (view.width - 0.5) / (view.height + 0.5) <= 1.2
    assert len({view[:4] for view in views}) > 5
    assert {view.mirrored for view in views} == {True, False}
    confidence_NK = np.mean([softmax(run.target.by_hand(seen_NCSS)) for seen_NCSS in run.shown], axis=0)
    np.testing.assert_allclose(run.result.scores_N.numpy(), np.sort(confidence_NK[:, LABEL])[::-1], rtol=1e-5)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_final_selection_has_the_views_that_are_asked_for(ctx, flip):
    run = Run(ctx, draws=4, select_scale=(0.2, 0.3), select_ratio=(2.0, 2.0), select_flip=flip)
    views = views_of(run.rendered[0][0].unflatten(1, (SIDE, SIDE)), [seen_NCSS[0] for seen_NCSS in run.shown])
    # 12.8 to 19.2 of 64 pixels, twice as wide as high: heights of 2.5 to 3.1, widths of 5.1 to 6.2
    assert all((view.height, view.mirrored) == (3, bool(flip)) and view.width in (5, 6) for view in views)
