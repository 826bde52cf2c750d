"""Distances between all pairs, a block at a time, against scipy's of all pairs at once."""

import numpy as np
import pytest
import torch
from mibench_metrics import feature_distances
from mibench_metrics.feature_distances import distances

from mibench.api import generator

SIZES = (1, 2, 5, 9)
LABELS = torch.arange(4).repeat_interleave(torch.tensor(SIZES))[torch.randperm(17, generator=generator("order"))]


def features(purpose="features", width=6):
    return torch.randn(len(LABELS), width, generator=generator(purpose), dtype=torch.float64)


def all_pairs(made):
    spatial = pytest.importorskip("scipy.spatial.distance")
    return spatial.cdist(made.numpy(), made.numpy())


@pytest.mark.parametrize("block", [1, 2, 5, 16, 17, 18])
def test_blocks_of_any_size_find_what_all_pairs_say(block, monkeypatch):
    monkeypatch.setattr(feature_distances, "BLOCK", block)
    made = features()
    far, same = all_pairs(made), (LABELS[:, None] == LABELS[None]).numpy()
    found = distances(made, LABELS, 4)
    assert found.inter_N.numpy() == pytest.approx(np.where(same, np.inf, far).min(1))
    apart = np.where(same & ~np.eye(17, dtype=bool), far, np.inf).min(1)
    assert found.intra_N.numpy() == pytest.approx(apart)
    assert np.isinf(apart).sum() == 1  # the class of one image
    assert (found.largest, found.mean) == pytest.approx((far.max(), far.mean()))
    assert found.std == pytest.approx(far.std(ddof=1))


def test_silhouettes_follow_their_definition_and_a_class_of_one_has_0():
    made = features()
    far, labels = all_pairs(made), LABELS.numpy()
    expected = []
    for image, label in enumerate(labels):
        own = np.delete(far[image], image)[np.delete(labels, image) == label]
        nearest = min(far[image, labels == other].mean() for other in set(labels) - {label})
        expected.append((nearest - own.mean()) / max(nearest, own.mean()) if len(own) else 0.0)
    assert distances(made, LABELS, 4).silhouette_N.numpy() == pytest.approx(expected)


def test_small_distances_far_from_the_origin_are_kept():
    """The formula by products would lose them: 1e-3 at 1e6 is less than the rounding of its squares."""
    made = 1e-3 * features()
    near, far = distances(made, LABELS, 4), distances(made + 1e6, LABELS, 4)
    for name in ("intra_N", "inter_N", "silhouette_N"):
        assert getattr(far, name).numpy() == pytest.approx(getattr(near, name).numpy(), rel=1e-5, abs=1e-6)


def test_scale_goes_through_distances_and_out_of_normalised_ones():
    made = features()
    one, ten = distances(made, LABELS, 4), distances(10 * made, LABELS, 4)
    assert ten.inter_N.numpy() == pytest.approx(10 * one.inter_N.numpy())
    assert ten.silhouette_N.numpy() == pytest.approx(one.silhouette_N.numpy())
    for (suffix, unit, change), (_, _, other) in zip(one.normalisations(), ten.normalisations(), strict=True):
        if suffix:
            assert other(ten.inter_N).numpy() == pytest.approx(change(one.inter_N).numpy()), unit


def test_a_rotation_changes_nothing():
    turn, _ = torch.linalg.qr(features("turn")[:6])
    one, other = distances(features(), LABELS, 4), distances(features() @ turn, LABELS, 4)
    assert other.intra_N.numpy() == pytest.approx(one.intra_N.numpy())
    assert (other.largest, other.mean, other.std) == pytest.approx((one.largest, one.mean, one.std))


def test_labels_without_images_are_nobodys_neighbours():
    wide = distances(features(), 2 * LABELS + 1, 9)
    assert wide.silhouette_N.numpy() == pytest.approx(distances(features(), LABELS, 4).silhouette_N.numpy())
