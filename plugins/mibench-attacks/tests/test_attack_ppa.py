"""PPA: what it descends, by hand, and what more candidates are good for."""

import copy
from itertools import pairwise

import pytest
import torch
from mibench_attacks.methods.ppa import PlugAndPlay
from mibench_attacks.views.transforms import RandomView
from torch.nn.functional import interpolate

from mibench.api import build, replaced, run_attack

PPA = build(
    PlugAndPlay,
    {"pool": 40, "candidates": 6, "final": 1, "steps": 4, "lr": 0.05, "draws": 3, "batch": 4, "cutoff": 1},
)


def poincare(logits, label, xi=1e-4):
    """Reference 1.2, in float64."""
    u = logits / logits.abs().sum(1, keepdim=True)
    v = (torch.eye(logits.shape[1]).double()[label] - xi).clamp(0, 1)
    apart = ((u - v) ** 2).sum(1)
    return torch.arccosh(1 + 2 * apart / ((1 - (u**2).sum(1)) * (1 - (v**2).sum())))


@pytest.mark.parametrize("views", [1, 3])
def test_the_objective_is_the_mean_distance_over_the_crops_by_hand(views, view_of, prior, classifier, ctx):
    label, attack = 2, replaced(PPA, {"steps": 1, "views": views, "crop_scale": (0.3, 0.9)})
    [result] = run_attack(attack, [label], view_of(), prior, ctx)
    start = attack.prepare(view_of(), prior, ctx).select(label, 6).latents_MLW[:, :1].double()
    prior, target = copy.deepcopy(prior).double(), copy.deepcopy(classifier).double()
    x = prior.crop_and_resize(prior.render(start.expand(-1, 3, -1)), 8)
    losses, view, rng = [], RandomView(scale=(0.3, 0.9)), ctx.rng("class", label, "crop")
    for _ in range(views):
        top, left, height, width = view.draw(6, 8, rng).boxes_N4[0].tolist()
        crop = x[..., top : top + height, left : left + width]
        losses.append(poincare(target(interpolate(crop, (8, 8), mode="bilinear", align_corners=False)), label))
    assert result.trace["loss"] == pytest.approx([torch.stack(losses).mean().item()], rel=1e-4)


@pytest.mark.parametrize("label", [0, 3])
def test_more_candidates_never_make_the_best_image_worse(label, view_of, prior, ctx):
    """The path of a candidate does not depend on the others, and all are ranked under the same views."""
    best = []
    for candidates in (1, 4, 20):
        [result] = run_attack(replaced(PPA, {"candidates": candidates}), [label], view_of(), prior, ctx)
        best.append(result.scores_N[0].item())
    assert all(after >= before - 1e-6 for before, after in pairwise(best))
    assert best[-1] > best[0] + 1e-4
