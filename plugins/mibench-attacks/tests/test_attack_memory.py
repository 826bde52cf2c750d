"""Batches that do not fit into a GPU's memory are cut, and neither results nor the ledger show it."""

import pytest
import torch
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.perceptual import perceptual
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam
from mibench_attacks.search.prior_tuning import PriorTuning
from mibench_attacks.selection.pool import CandidatePool
from mibench_attacks.selection.robust_rank import RobustRank, by_confidence
from torch.testing import assert_close

from mibench.api import MibenchError, generator


@pytest.fixture()
def short_of_memory(monkeypatch):
    """Let no network see more than two images at once; return the sizes that were tried."""

    def limit(thing, method, tried):
        run = getattr(thing, method)

        def hungry(x, *args, **more):
            tried.append(len(x))
            if len(x) > 2:
                raise torch.cuda.OutOfMemoryError
            return run(x, *args, **more)

        monkeypatch.setattr(thing, method, hungry)
        return tried

    return limit


def test_a_pool_is_scored_in_batches_that_fit(prior, view_of, short_of_memory):
    pool, target = CandidatePool(size=9), view_of()
    expected = pool.fill(Renderer(prior, target, 8), generator("pool"), batch=8)
    tried = short_of_memory(prior, "render", [])
    tight = view_of()
    found = pool.fill(Renderer(prior, tight, 8), generator("pool"), batch=8)
    assert tried[:3] == [8, 4, 2]
    assert_close(found.scores_NK, expected.scores_NK)
    assert torch.equal(found.latents_NLW, expected.latents_NLW)
    assert tight.ledger == target.ledger


@pytest.mark.parametrize("kind", ["robust", "confidence"])
def test_candidates_are_ranked_in_batches_that_fit(view_of, short_of_memory, kind):
    def ranked(target):
        if kind == "robust":
            return RobustRank(keep=4, draws=3, batch=8).rank(images, 2, target, generator("views"))
        return by_confidence(images, 2, target, keep=4, batch=8, where="here")

    images, roomy, tight = torch.rand(7, 3, 8, 8, generator=generator("images")), view_of(), view_of()
    expected = ranked(roomy)
    tried = short_of_memory(tight, "logits", [])
    found = ranked(tight)
    assert tried[:3] == [7, 4, 2]
    assert torch.equal(found.index_M, expected.index_M)
    assert_close(found.scores_M, expected.scores_M)
    assert tight.ledger == roomy.ledger


def _tuned(prior, target, limit=None, tuner="pw"):
    render = Renderer(prior.clone(), target, 8)
    tried = [] if limit is None else limit(render.prior, "render", [])
    tuning = PriorTuning(
        tuner=tuner, features=perceptual("random"), search=GradientSearch(steps=1, optimizer=adam(0.1)), noise=0.0,
        d_weight=0.0, steps=3, lr=1e-3,
    )  # fmt: skip
    latents = torch.randn(5, 1, 6, generator=generator("latents"))
    images = torch.rand(5, 3, 12, 12, generator=generator("wanted"))
    return tried, tuning.tune(latents, images, render, where="here"), render.prior


def test_a_generator_is_tuned_in_batches_that_fit(prior, view_of, short_of_memory):
    roomy, tight = view_of(), view_of()
    _, losses, expected = _tuned(prior, roomy)
    tried, tight_losses, found = _tuned(prior, tight, short_of_memory)
    assert tried == [5, 3, 2, 2, 1] + [2, 2, 1] * 2
    assert_close(tight_losses, losses)
    for weight, other in zip(found.parameters(), expected.parameters(), strict=True):
        assert_close(weight, other)
    assert tight.ledger == roomy.ledger


def test_a_distance_between_sets_is_not_cut(prior, view_of, short_of_memory):
    with pytest.raises(MibenchError, match="do not fit into memory"):
        _tuned(prior, view_of(), short_of_memory, tuner="ct")
