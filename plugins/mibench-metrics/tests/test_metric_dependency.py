"""Dependence against float64 numpy, against second formulas, and calibrated on views whose dependence is known."""

import numpy as np
import pytest
import torch
from mibench_metrics.dependency import Dependency, alignment, measures, median_gram
from scipy.spatial.distance import pdist, squareform
from torch.nn.functional import one_hot

from mibench.api import Dependence, MibenchError, centred, generator, gram

M = 48


def drawn(*shape):
    return torch.rand(*shape, generator=generator("dependency", *shape), dtype=torch.float64)


def views():
    labels = torch.arange(M) % 6
    x = 0.5 * drawn(6, 30)[labels] + 0.5 * drawn(M, 30)
    relu = torch.relu(x @ (drawn(30, 20) - 0.5))
    noise = torch.randn(M, 400, generator=generator("noise"), dtype=torch.float64)
    views = {"x": x, "relu": relu, "small": 0.1 * relu, "noise": noise}
    return x, labels, {**views, "permuted": relu[torch.randperm(M, generator=generator("rows"))]}


def test_the_published_hsic_is_the_eigenvalue_form_in_numpy():
    """tr(R_x R_z) by eigenvectors: sum over i, j of a_i b_j <u_i, v_j>^2, with a = l / (l + eps m)."""
    x, labels, named = views()
    found = measures(named, 2 * x - 1, one_hot(labels, 6).double(), Dependence(), 2)

    def smoothed(rows, linear=False):
        kernel = rows @ rows.T if linear else np.exp(-squareform(pdist(rows, "sqeuclidean")) / (50 * rows.shape[1]))
        h = np.eye(M) - 1 / M
        values, vectors = np.linalg.eigh(h @ kernel @ h)
        return values / (values + 1e-5 * M), vectors

    one = smoothed((2 * x - 1).numpy())
    label = smoothed(one_hot(labels, 6).double().numpy(), linear=True)
    for name, view in named.items():
        own = smoothed(view.numpy())
        for column, other in (("hsic_xz", one), ("hsic_zy", label)):
            expected = other[0] @ (other[1].T @ own[1]) ** 2 @ own[0]
            assert found[column][name] == pytest.approx(expected, rel=1e-7)


def test_cka_is_the_ratio_of_feature_norms_and_median_hsic_is_numpys():
    """Linear CKA by features: |Z'X|^2 / (|X'X| |Z'Z|), Kornblith et al., equation 3."""
    x, labels, named = views()
    found = measures(named, x, one_hot(labels, 6).double(), Dependence(image_scale="unit"), 1)
    a, b = (v.numpy() - v.numpy().mean(0) for v in (x, named["relu"]))
    expected = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert found["cka_xz"]["relu"] == pytest.approx(expected, rel=1e-9)
    h = np.eye(M) - 1 / M

    def kernel(rows):
        far = squareform(pdist(rows, "sqeuclidean"))
        others = np.sort(far[~np.eye(M, dtype=bool)])
        return h @ np.exp(-far / (2 * others[(len(others) - 1) // 2])) @ h  # the lower median

    one, other = kernel(x.numpy()), kernel(named["relu"].numpy())
    expected = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    assert found["hsic_median_xz"]["relu"] == pytest.approx(expected, rel=1e-9)


def test_calibration():
    """What the columns say of views that are known; the table of the readme has the same order."""
    x, labels, named = views()
    found = measures(named, 2 * x - 1, one_hot(labels, 6).double(), Dependence(), 20)
    raw, corrected = found["hsic_xz"], found["hsic_xz_corrected"]
    assert raw["noise"] > raw["relu"]  # the published number ranks noise above a layer
    assert raw["small"] < 0.6 * raw["relu"]  # and follows the scale
    assert abs(corrected["noise"]) < 0.1 * raw["noise"]
    assert abs(corrected["permuted"]) < 0.5 * corrected["relu"]
    for scale_free in ("cka_xz", "hsic_median_xz"):
        column = found[scale_free]
        assert column["x"] == pytest.approx(1)
        assert column["small"] == pytest.approx(column["relu"])
        assert column["permuted"] < 0.7 * column["relu"]


def test_a_constant_view_depends_on_nothing():
    constant, x = torch.ones(M, 3, dtype=torch.float64), drawn(M, 4)
    assert alignment(centred(gram(constant, "linear")), centred(gram(x, "linear"))) == 0
    assert alignment(median_gram(constant), median_gram(x)) == pytest.approx(0, abs=1e-9)


def test_columns_are_means_over_batches_and_stages(world):
    made = {found.name: found for found in Dependency(batch=16, shuffles=1).measure(world.evidence, world.ctx)}
    details = made["hsic_xz"].details
    assert (details["m"], details["batches"], details["split"], details["kernel_y"]) == (16, 5, "train", "linear")
    assert made["hsic_xz"].value == pytest.approx(np.mean(list(details["stages"].values())))
    assert made["hsic_xz"].n == 80
    assert 0 < made["hsic_zy"].value < 15


def test_a_stage_that_is_not_there_is_refused(world):
    with pytest.raises(MibenchError, match=r"no stage 'blocks\.9'; it has features"):
        Dependency(stages=("blocks.9",)).measure(world.evidence, world.ctx)
