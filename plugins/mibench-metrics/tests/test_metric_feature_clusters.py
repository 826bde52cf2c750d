"""Feature clusters against loops over pairs in numpy, and the silhouette against its definition image by image."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_metrics import feature_distances
from mibench_metrics.feature_clusters import FeatureClusters

from mibench.api import MibenchError, TensorImages


def measured(evidence, world, **settings):
    return {found.name: found for found in FeatureClusters(**settings).measure(evidence, world.ctx)}


def by_hand(features, labels):
    """Return statistics by class, all distances, and silhouettes, by loops."""
    far = np.linalg.norm(features[:, None] - features[None], axis=2)
    classes, silhouettes = {}, []
    for label in np.unique(labels):
        own, others = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        if len(own) > 1:
            intra = [min(far[i, j] for j in own if j != i) for i in own]
            inter = [min(far[i, j] for j in others) for i in own]
            classes[int(label)] = np.array(intra), np.array(inter)
    for i, label in enumerate(labels):
        own = [j for j in np.flatnonzero(labels == label) if j != i]
        b = min(far[i, labels == other].mean() for other in np.unique(labels) if other != label)
        a = far[i, own].mean() if own else 0
        silhouettes.append((b - a) / max(a, b) if own else 0.0)
    return far, classes, np.array(silhouettes)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_it_is_what_loops_over_pairs_say(world, split, monkeypatch):
    monkeypatch.setattr(feature_distances, "BLOCK", 33)
    evidence = world.evidence
    images = evidence.gallery if split == "train" else evidence.heldout
    features = evidence.target.features(images.all_images()).double().numpy()
    far, classes, silhouettes = by_hand(features, images.labels_N.numpy())
    found = measured(evidence, world, split=split)
    intra = np.array([own.mean() for own, _ in classes.values()])
    inter = np.array([other.mean() for _, other in classes.values()])
    mean, std = far.mean(), far.std(ddof=1)
    expected = {
        "nn_intra": intra.mean(),
        "nn_intra/max": intra.mean() / far.max(),
        "nn_intra/zscore": (intra.mean() - mean) / std,
        "nn_inter": inter.mean(),
        "nn_inter/max": inter.mean() / far.max(),
        "nn_inter/zscore": (inter.mean() - mean) / std,
        "silhouette": silhouettes.mean(),
    }
    for name, statistic in (("mean", np.mean), ("median", np.median), ("min", np.min)):
        ratios = np.array([statistic(own) / statistic(other) for own, other in classes.values()])
        expected[f"nn_ratio/{name}"] = ratios.mean()
        shown = found[f"nn_ratio/{name}"].details["over_classes"]
        assert (shown["count"], shown["max"]) == (10, pytest.approx(ratios.max()))
        assert shown["std"] == pytest.approx(ratios.std(ddof=1))
        assert shown["25%"] == pytest.approx(np.quantile(ratios, 0.25))
        scores = np.array([(statistic(o) - mean) / (statistic(p) - mean) for o, p in classes.values()])
        assert found[f"nn_ratio/{name}"].details["zscore"]["mean"] == pytest.approx(scores.mean(), rel=1e-5)
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected, rel=1e-5)
    assert found["silhouette"].per_class[4] == pytest.approx(silhouettes[32:40].mean(), rel=1e-5)
    assert found["nn_intra"].per_class[4] == pytest.approx(intra[4], rel=1e-5)
    json.dumps([one.details for one in found.values()], allow_nan=False)


def test_the_silhouette_of_four_points_is_that_of_pencil_and_paper():
    """Points 0 and 1 against 4 and 8: a = 1, b = 6 and 5; a = 4, b = 3.5 and 7.5."""
    found = feature_distances.distances(torch.tensor([[0.0], [1], [4], [8]]).double(), torch.tensor([0, 0, 2, 2]), 3)
    assert found.silhouette_N.tolist() == pytest.approx([5 / 6, 4 / 5, -0.5 / 4, 3.5 / 7.5])
    assert found.intra_N.tolist() == [1, 1, 4, 4]
    assert found.inter_N.tolist() == [4, 3, 3, 7]
    pairs = [0, 1, 4, 8, 1, 0, 3, 7, 4, 3, 0, 4, 8, 7, 4, 0]
    assert (found.largest, found.mean) == (8, np.mean(pairs))
    assert found.std == pytest.approx(np.std(pairs, ddof=1))


def test_equal_features_have_distance_0_and_undefined_ratios_are_left_out():
    features = torch.tensor([[1.0], [1], [1], [1], [3], [5]]).double()
    found = feature_distances.distances(features, torch.tensor([0, 0, 1, 1, 2, 2]), 3)
    assert found.intra_N.tolist() == [0, 0, 0, 0, 2, 2]
    assert found.inter_N.tolist() == [0, 0, 0, 0, 2, 4]
    assert found.silhouette_N[:4].tolist() == [0, 0, 0, 0]


def test_a_class_with_one_image_has_no_neighbour_and_is_left_out(world):
    gallery = world.evidence.gallery
    keep = (gallery.labels_N != 2).logical_or(torch.arange(len(gallery)) == 16).nonzero()[:, 0]
    found = measured(replace(world.evidence, gallery=gallery.subset(keep)), world)
    assert found["nn_intra"].per_class[2] is None
    assert found["nn_ratio/min"].per_class[2] is None
    assert found["nn_ratio/min"].details["over_classes"]["count"] == 9
    assert found["silhouette"].per_class[2] == 0
    features = world.evidence.target.features(gallery.subset(keep).all_images()).double().numpy()
    *_, silhouettes = by_hand(features, gallery.labels_N[keep].numpy())
    assert found["silhouette"].value == pytest.approx(silhouettes.mean(), rel=1e-5)


def test_order_does_not_matter_and_a_part_is_stratified(world):
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    mixed = replace(world.evidence, gallery=world.evidence.gallery.subset(order))
    one, other = measured(world.evidence, world), measured(mixed, world)
    assert {n: m.value for n, m in one.items()} == pytest.approx({n: m.value for n, m in other.items()})
    part = measured(world.evidence, world, max_images=20)
    assert {m.n for m in part.values()} == {20}
    assert None not in part["nn_intra"].per_class


def test_missing_parts_are_named(world):
    with pytest.raises(MibenchError, match="needs the target"):
        measured(replace(world.evidence, target=None), world)
    few = TensorImages(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1]), 10)
    with pytest.raises(MibenchError, match="two classes with at least two images"):
        measured(replace(world.evidence, gallery=few), world)
