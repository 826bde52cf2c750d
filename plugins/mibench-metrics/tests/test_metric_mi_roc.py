"""True positives at few false ones, against counts over sorted lists."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mibench_metrics.mi_roc import MiRoc
from mibench_metrics.verification import Impostors
from torch.nn.functional import normalize

from mibench.api import IdentityGallery, MibenchError, TensorImages, generator, to_uint8


def drawn(purpose, *shape):
    return torch.rand(*shape, generator=generator("roc", purpose), dtype=torch.float64)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("count", [1, 9, 10, 100, 999, 1000, 1001])
def test_at_most_the_rate_of_impostors_passes_and_no_lower_threshold_has_that(rate, count):
    scores = drawn(count, count, 1)
    found = Impostors.of(scores, torch.full((count,), -1)).thresholds(rate).item()
    passing = sorted(scores.flatten().tolist(), reverse=True)
    assert sum(score > found for score in passing) <= rate * count + 1e-9
    assert found in passing
    lower = [score for score in passing if score < found]
    assert not lower or sum(score > lower[0] for score in passing) > rate * count + 1e-9


def test_equal_scores_never_pass_together():
    tied = Impostors.of(torch.ones(10, 1), torch.full((10,), -1))
    assert tied.thresholds(0.5).item() == 1
    assert not tied.accepted(torch.tensor([1.0]), torch.tensor([0]), 0.5).item()
    assert tied.areas(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0, 0, 0])).tolist() == [0.5, 1.0, 0.0]


def test_nobody_is_an_impostor_of_himself():
    scores, owners = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.4]]), torch.tensor([0, 1, -1])
    found = Impostors.of(scores, owners)
    assert [own.tolist() for own in found.scores] == [pytest.approx([0.2, 0.5]), pytest.approx([0.1, 0.4])]
    assert found.fewest(torch.tensor([0, 1])) == 2


@pytest.mark.parametrize(("count", "rate", "told"), [(100, 0.01, True), (99, 0.01, False), (1000, 0.001, True)])
def test_a_rate_takes_as_many_impostors_as_let_one_pass(count, rate, told):
    assert Impostors.of(torch.zeros(count, 1), torch.full((count,), -1)).resolves(rate, torch.tensor([0])) is told


@pytest.fixture
def crowd(world):
    """The tiny world with 1000 strangers in its gallery: patterns of their own."""
    pixels = to_uint8(torch.rand(1000, 1, 8, 8, generator=generator("strangers")))
    strangers = TensorImages(pixels, torch.arange(1000), 1000)
    return replace(world.evidence, identities=IdentityGallery(world.evidence.gallery, strangers))


def loops(world, evidence, rates):
    """Scores and acceptance, one claim at a time."""
    eye = evidence.embedder
    trained = eye.embed(evidence.gallery.all_images()).double()
    centre = [
        normalize(normalize(trained[evidence.gallery.labels_N == k]).sum(0), dim=0) for k in range(evidence.num_classes)
    ]
    photographs = eye.embed(evidence.heldout.all_images()).double()
    strangers = eye.embed(evidence.identities.distractors.all_images()).double()
    made, areas, passed = eye.embed(evidence.images_NCHW).double(), [], {rate: [] for rate in rates}
    for row, label in zip(made, evidence.labels_N.tolist(), strict=True):
        others = torch.cat([photographs[evidence.heldout.labels_N != label], strangers]) @ centre[label]
        score = row @ centre[label]
        areas.append(((others < score).double() + 0.5 * (others == score)).mean().item())
        ranked = sorted(others.tolist(), reverse=True)
        for rate in rates:
            passed[rate].append(score.item() > ranked[int(rate * len(ranked))])
    return areas, passed


def test_columns_are_what_loops_count(world, crowd):
    rates = {"mi_tpr_1pct": 0.01, "mi_tpr_0.1pct": 0.001}
    areas, passed = loops(world, crowd, rates.values())
    found = {row.name: row for row in MiRoc().measure(crowd, world.ctx)}
    assert list(found) == ["mi_auc", *rates]
    assert found["mi_auc"].value == pytest.approx(sum(areas) / len(areas), abs=1e-9)
    for name, rate in rates.items():
        assert found[name].value == pytest.approx(sum(passed[rate]) / len(passed[rate]))
    told = found["mi_auc"].details
    assert told["impostors"] == 1000 + 9 * 8
    assert told["rates"][0] == 0.001 and told["passed"][told["rates"].index(0.01)] == found["mi_tpr_1pct"].value
    assert told["passed"] == sorted(told["passed"])


def test_own_photographs_stand_beside_and_are_what_gold_measures(world, crowd):
    gold = replace(crowd, images_NCHW=crowd.heldout.all_images(), labels_N=crowd.heldout.labels_N)
    attack, photographs = (MiRoc().measure(one, world.ctx)[0] for one in (crowd, gold))
    assert attack.details["photographs"] == pytest.approx(photographs.details["passed"])
    assert photographs.value > 0.9


def test_rates_that_cannot_be_told_are_absent_and_not_zero(world):
    rows = MiRoc().measure(world.evidence, world.ctx)
    assert [row.name for row in rows] == ["mi_auc"]  # 72 photographs of nine other people
    assert rows[0].details["impostors"] == 72
    assert rows[0].details["rates"] == [0.02, 0.05, 0.1, 0.2, 0.5]


def test_a_failed_class_is_rejected_and_blind(world, crowd):
    kept = crowd.labels_N != 3
    failed = replace(crowd, images_NCHW=crowd.images_NCHW[kept], labels_N=crowd.labels_N[kept], failed=(3,))
    found = {row.name: row.per_class[3] for row in MiRoc().measure(failed, world.ctx)}
    assert found == {"mi_auc": 0.5, "mi_tpr_1pct": 0.0, "mi_tpr_0.1pct": 0.0}


def test_what_is_missing_is_said(world, crowd):
    with pytest.raises(MibenchError, match="mi-roc needs an embedder"):
        MiRoc().measure(replace(crowd, embedder=None), world.ctx)
    alone = replace(
        world.evidence,
        heldout=crowd.heldout.subset((crowd.heldout.labels_N == 0).nonzero().flatten()),
        images_NCHW=crowd.images_NCHW[:1],
        labels_N=torch.zeros(1, dtype=torch.long),
    )
    with pytest.raises(MibenchError, match="no photograph of anybody else"):
        MiRoc().measure(alone, world.ctx)
