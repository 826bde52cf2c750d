"""PPA's final selection by clamped images, as delivered, and by images as rendered, as the released code does.

The released order is worked out here: mean softmax over crops of the images as they come out of the generator, sorted.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.methods.if_gmi import IntermediateFeatures
from mibench_attacks.methods.ppa import PlugAndPlay
from mibench_attacks.selection.robust_rank import STRONG_VIEW
from torch import Tensor

from mibench.api import AttackContext, Classifier, Prior, TargetView, UsageError, generator, run_attack
from mibench.api.params import build, canonical

SETTINGS = {"pool": 24, "candidates": 24, "final": 24, "steps": 0, "draws": 5, "truncation": 1.0, "single_w": False}


class Spread(Prior):
    """Images that are their latents, spread around mid-grey."""

    latent_layers, latent_size, noise_size = 1, 3 * 8 * 8, 3 * 8 * 8

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.spread = spread

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        return z_BZ[:, None]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: object = None) -> Tensor:
        return 0.5 + self.spread * latent_BLW.view(-1, 3, 8, 8)


def released_order(x_NCSS: Tensor, label: int, classifier: Classifier, ctx: AttackContext) -> Tensor:
    """Sort by the mean confidence of images that nobody clamped."""
    rng, total = ctx.rng("class", label, "select"), torch.zeros(len(x_NCSS), dtype=torch.float64)
    for _ in range(int(SETTINGS["draws"])):
        views = STRONG_VIEW.draw(len(x_NCSS), 8, rng).apply(x_NCSS)
        with torch.no_grad():
            total += classifier(views).double().softmax(1)[:, label]
    return total.sort(descending=True, stable=True).indices


def found(attack: PlugAndPlay, prior: Prior, label: int, view: TargetView, ctx: AttackContext) -> tuple[Tensor, Tensor]:
    """Return what is delivered, and the images of all candidates as rendered, both in the order of the attack."""
    inverted = attack.inversion.run(label, attack.prepare(view, prior, ctx), Renderer(prior, view, ctx.size), ctx)
    return inverted.images_MCDD, prior.crop_and_resize(prior.render(inverted.latents_MLW), ctx.size)


@pytest.mark.parametrize("label", [0, 5])
@pytest.mark.parametrize(("spread", "outside"), [(0.05, False), (0.75, True)])
def test_the_order_of_the_released_code(
    spread: float, outside: bool, label: int, view_of: Callable[..., TargetView], classifier: Classifier,
    ctx: AttackContext,
) -> None:  # fmt: skip
    prior, order = Spread(spread), torch.arange(SETTINGS["final"])
    _, by_rendered = found(build(PlugAndPlay, {**SETTINGS, "clamp_selection": False}), prior, label, view_of(), ctx)
    _, by_delivered = found(build(PlugAndPlay, SETTINGS), prior, label, view_of(), ctx)
    assert bool(((by_rendered < 0) | (by_rendered > 1)).any()) == outside
    if outside:
        assert 0.4 < float(((by_rendered < 0) | (by_rendered > 1)).float().mean()) < 0.6
    unordered = by_delivered[torch.randperm(len(order), generator=generator("unordered"))]
    assert torch.equal(unordered.sort(0).values, by_rendered.sort(0).values)  # the same candidates
    # Views are drawn per row, so that candidates have to stand where they stood when the attack ranked them.
    started = build(PlugAndPlay, SETTINGS).prepare(view_of(), prior, ctx).select(label, len(order)).latents_MLW
    rendered = prior.crop_and_resize(prior.render(started), ctx.size)
    assert torch.equal(rendered[released_order(rendered, label, classifier, ctx)], by_rendered)
    assert torch.equal(rendered[released_order(rendered.clamp(0, 1), label, classifier, ctx)], by_delivered)
    assert torch.equal(by_rendered, by_delivered) is not outside


def test_images_are_delivered_clamped_whatever_ranked_them(view_of: Callable[..., TargetView], ctx: AttackContext):
    prior, latents = Spread(0.75), torch.randn(7, 1, 192, generator=generator("latents"))
    render = Renderer(prior, view_of(), 8)
    delivered, rendered = render.deliver_both(latents, batch=3)
    assert torch.equal(delivered, render.deliver(latents, batch=3))
    assert torch.equal(rendered, prior.render(latents))
    assert render.target.ledger.render == 14
    attack = build(PlugAndPlay, {**SETTINGS, "clamp_selection": False})
    target = view_of()
    [result] = run_attack(attack, [2], target, prior, ctx)
    assert float(result.images_NCHW.min()) == 0 and float(result.images_NCHW.max()) == 1
    assert vars(target.ledger) == dict(attack.cost(1))


def test_who_selects_as_the_released_code_and_whose_keys_stay() -> None:
    for name in ("paper", "celeba", "metfaces", "dogs", "seed", "seed-celeba", "seed-dogs"):
        assert not build(PlugAndPlay, PlugAndPlay.presets[name]).selection.clamp
    for name in ("small", "ce", "taa", "stylegan2"):
        assert "clamp_selection" not in canonical(build(PlugAndPlay, PlugAndPlay.presets[name]))
    with pytest.raises(UsageError, match="no final selection"):
        build(IntermediateFeatures, {"clamp_selection": False})


def test_atats_if_gmi_says_that_an_evaluator_chose() -> None:
    assert build(IntermediateFeatures, IntermediateFeatures.presets["seed"]).uses_evaluator()
