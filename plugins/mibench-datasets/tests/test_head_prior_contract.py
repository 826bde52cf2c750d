"""The prior ``head-model`` keeps the contract of priors, however many faces it is asked for at once."""

from typing import ClassVar

import pytest
import torch
from mibench_datasets.head_model.component import HeadModelPrior
from mibench_datasets.head_model.prior import PIECE

from mibench.api import generator
from mibench.testing import PriorContract, TinyWorld


class TestHeadModel(PriorContract):
    component = HeadModelPrior


class TestFreeGreyHeadModel(PriorContract):
    component = HeadModelPrior
    settings: ClassVar = {"views": "free", "coarse_groups": 7}
    world = TinyWorld(channels=1)


@pytest.mark.parametrize("views", ["frontal", "free"])
def test_faces_in_pieces_are_those_of_one_pass(views):
    """But for rounding: a small matrix product may add in another order."""
    prior = HeadModelPrior(views=views).build(channels=3, size=16)
    latents_B1W = prior.to_latent(prior.sample(PIECE + 3, generator(0)))
    views_BV = torch.randn(PIECE + 3, prior.view_size, generator=generator(1))
    person_BW, own_BW = latents_B1W[:, 0].tensor_split([prior.population.size], dim=1)
    other = (prior.other_views, views_BV) if views == "frontal" else (prior.view, own_BW)
    with torch.no_grad():
        pieces = {"own": prior.render(latents_B1W), "other": prior.render_views(latents_B1W, views_BV)}
        for name, (view, seen_BV) in {"own": (prior.view, own_BW), "other": other}.items():
            at_once = prior.renderer(prior.population(person_BW), view(seen_BV))
            torch.testing.assert_close(pieces[name], at_once, rtol=0, atol=1e-5)
    assert prior.render(latents_B1W.clone().requires_grad_(True)).requires_grad
