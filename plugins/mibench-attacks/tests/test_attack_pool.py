import pytest
import torch
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.selection.pool import ScoredPool, StylePool
from mibench_attacks.selection.robust_rank import RobustRank, best
from mibench_attacks.views.transforms import hflip
from torch.testing import assert_close

from mibench.api import ClassFailed, MibenchError, generator


def filled(prior, target, *, batch=50, **settings):
    return StylePool(size=40, **settings).fill(Renderer(prior, target, 8), generator("pool"), batch=batch)


def test_selection_is_the_top_without_duplicates_and_classes_may_share(prior, view_of):
    pool = filled(prior, view_of())
    chosen = [pool.select(label, 30) for label in range(8)]
    for label, one in enumerate(chosen):
        assert len(one.index_M.unique()) == 30
        assert_close(one.scores_M, pool.scores_NK[:, label].sort(descending=True).values[:30])
        assert torch.equal(one.latents_MLW, pool.latents_NLW[one.index_M])
    assert set(chosen[0].index_M.tolist()) & set(chosen[1].index_M.tolist())


def test_scores_are_the_mean_softmax_of_image_and_mirror_image_of_clamped_renders(prior, view_of):
    target = view_of()
    pool = filled(prior, target, batch=7)
    x = prior.crop_and_resize(prior.render(pool.latents_NLW).clamp(0, 1), 8)
    expected = (target.logits(x).softmax(1) + target.logits(hflip(x)).softmax(1)) / 2
    assert_close(pool.scores_NK, expected.detach(), atol=1e-6, rtol=1e-5)


def test_the_batch_size_changes_nothing(prior, view_of):
    pools = [filled(prior, view_of(), batch=batch) for batch in (1, 7, 100)]
    for other in pools[1:]:
        assert_close(other.latents_NLW, pools[0].latents_NLW, atol=1e-5, rtol=1e-5)
        assert_close(other.scores_NK, pools[0].scores_NK, atol=1e-5, rtol=1e-5)


def test_only_the_first_layers_are_truncated(prior, view_of):
    free, cut, all_cut = (
        filled(prior, view_of(), truncation=truncation, cutoff=cutoff).latents_NLW
        for truncation, cutoff in [(1.0, None), (0.5, 2), (0.5, None)]
    )
    assert_close(cut[:, :2], 0.5 * free[:, :2])
    assert_close(cut[:, 2:], free[:, 2:])
    assert_close(all_cut, 0.5 * free)


def test_single_w_scoring_scores_what_the_search_starts_from(prior, view_of):
    target = view_of()
    pool, single = filled(prior, target, cutoff=1), filled(prior, target, cutoff=1, score_with="single_w")
    assert torch.equal(pool.latents_NLW, single.latents_NLW)
    assert not torch.allclose(pool.scores_NK, single.scores_NK, atol=1e-3)
    x = prior.crop_and_resize(prior.render(single.latents_NLW[:, :1].expand(-1, 3, -1)).clamp(0, 1), 8)
    expected = (target.logits(x).softmax(1) + target.logits(hflip(x)).softmax(1)) / 2
    assert_close(single.scores_NK, expected.detach(), atol=1e-6, rtol=1e-5)


def test_candidates_without_a_finite_score_are_never_chosen():
    scores = torch.tensor([0.1, float("nan"), 0.5, float("inf"), 0.5])
    assert best(scores, 3, where="here").index_M.tolist() == [2, 4, 0]
    with pytest.raises(MibenchError, match=r"class 1, candidate pool: expected 4 candidates .* got 3 of 5"):
        ScoredPool(torch.zeros(5, 1, 2), torch.stack([scores, scores], 1)).select(1, 4)


def test_robust_rank_does_not_depend_on_the_batch_size(prior, view_of):
    x = prior.crop_and_resize(prior.render(filled(prior, view_of()).latents_NLW).clamp(0, 1), 8).detach()
    rankings = [RobustRank(keep=9, draws=6, batch=batch).rank(x, 2, view_of(), generator(0)) for batch in (1, 7, 100)]
    for other in rankings[1:]:
        assert torch.equal(other.index_M, rankings[0].index_M)
        assert_close(other.scores_M, rankings[0].scores_M, atol=1e-5, rtol=1e-5)
    assert rankings[0].scores_M.diff().max() <= 0


def test_too_few_finite_scores_fail_the_class_and_not_the_attack():
    scores = torch.tensor([[0.1, float("nan")], [0.2, float("inf")], [0.3, -float("inf")]])
    pool = ScoredPool(torch.zeros(3, 1, 2), scores)
    assert pool.select(0, 3).index_M.tolist() == [2, 1, 0]
    for fails in (lambda: best(scores[:, 1], 1, where="here"), lambda: pool.select(1, 1)):
        with pytest.raises(MibenchError) as caught:
            fails()
        assert type(caught.value) is ClassFailed
