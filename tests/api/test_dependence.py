"""HSIC and COCO against their formulas in numpy, with explicit inverses, and their known properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mibench.api import Dependence, centred, generator, gram, ridge_smoother, squared_distances


def nhsic(x, z, *, kernel_z="gaussian", **how) -> torch.Tensor:
    d = Dependence(measure="hsic", **how)
    return d.between(d.encode(x), d.encode(z, kernel_z))


def coco(x, z, *, kernel_z="gaussian", **how) -> torch.Tensor:
    d = Dependence(measure="coco", **how)
    return d.between(d.encode(x), d.encode(z, kernel_z))


def views(m: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    rng = generator("dependence", m)
    x = torch.rand(m, 3, 5, 5, generator=rng, dtype=torch.float64)
    z = torch.relu(x.flatten(1) @ torch.randn(75, 20, generator=rng, dtype=torch.float64)).view(m, 5, 2, 2)
    return x, z


def numpy_kernel(view: torch.Tensor, kernel: str, sigma: float) -> np.ndarray:
    rows = view.flatten(1).numpy().astype(np.float64)
    if kernel == "linear":
        return np.array([[np.dot(a, b) for b in rows] for a in rows])
    d = np.array([[np.sum((a - b) ** 2) for b in rows] for a in rows])
    return 1 / np.sqrt(1 + d) if kernel == "imq" else np.exp(-d / (2 * sigma**2 * rows.shape[1]))


def numpy_nhsic(x: torch.Tensor, z: torch.Tensor, kernels: tuple[str, str], sigma: float, eps: float) -> float:
    """The published form: centred on one side, explicit inverses, sum of the elementwise product."""
    m = len(x)
    h = np.eye(m) - np.ones((m, m)) / m
    r = []
    for view, kernel in zip((x, z), kernels, strict=True):
        k = numpy_kernel(view, kernel, sigma) @ h
        r.append(k @ np.linalg.inv(k + eps * m * np.eye(m)))
    return float(np.sum(r[0] * r[1].T))


@pytest.mark.parametrize("kernel", ["gaussian", "linear", "imq"])
@pytest.mark.parametrize(("m", "sigma"), [(2, 5.0), (3, 0.5), (12, 5.0), (40, 1.0)])
def test_nhsic_equals_the_one_sided_form_with_explicit_inverse(kernel: str, m: int, sigma: float):
    x, z = views(m)
    expected = numpy_nhsic(x, z, ("gaussian", kernel), sigma, 1e-5)
    got = nhsic(x, z, kernel_z=kernel, sigma=sigma)
    assert got.item() == pytest.approx(expected, rel=1e-7)
    assert 0 < got.item() <= m - 1


@pytest.mark.parametrize("kernel", ["gaussian", "linear", "imq"])
def test_coco_equals_its_formula(kernel: str):
    x, z = views()
    h = np.eye(12) - np.ones((12, 12)) / 12
    kx, kz = (h @ numpy_kernel(v, k, 5.0) @ h for v, k in ((x, "gaussian"), (z, kernel)))
    expected = np.sqrt(np.linalg.norm(kx @ kz)) / 12
    assert coco(x, z, kernel_z=kernel).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("measure", [nhsic, coco])
def test_symmetric_and_invariant_to_rotation_and_shift(measure):
    x, z = views()
    rotation, _ = torch.linalg.qr(torch.randn(20, 20, generator=generator("rotation"), dtype=torch.float64))
    torch.testing.assert_close(measure(x, z), measure(z, x), rtol=1e-9, atol=0)
    torch.testing.assert_close(measure(x, z), measure(x, z.flatten(1) @ rotation), rtol=1e-9, atol=0)
    torch.testing.assert_close(measure(x, z), measure(x, z + 100), rtol=1e-6, atol=0)


def test_distances_far_from_the_origin_do_not_cancel():
    x, _ = views()
    near, far = x.flatten(1), x.flatten(1).float() + 1000
    true = (far[:, None].double() - far[None].double()).square().sum(2)
    torch.testing.assert_close(squared_distances(far).double(), true, rtol=1e-4, atol=1e-4)
    assert torch.equal(squared_distances(near).diagonal(), torch.zeros(12, dtype=torch.float64))


def test_centred_gram_has_zero_rows_and_the_smoother_eigenvalues_below_one():
    x, _ = views()
    matrix = centred(gram(x.flatten(1), "gaussian"))
    assert matrix.sum(0).abs().max() < 1e-12
    torch.testing.assert_close(matrix, matrix.T)
    values, smooth = torch.linalg.eigvalsh(matrix), torch.linalg.eigvals(ridge_smoother(matrix, 1e-3)).real
    torch.testing.assert_close(smooth.sort().values, values / (values + 12e-3), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("measure", [nhsic, coco])
@pytest.mark.parametrize("kernel", ["gaussian", "linear", "imq"])
def test_gradients(measure, kernel: str):
    x, z = views(5)
    x, z = x[:, :1, :2, :2].clone().requires_grad_(), z[:, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: measure(a, b, kernel_z=kernel, sigma=0.5), (x, z))


@pytest.mark.parametrize("measure", [nhsic, coco])
def test_a_constant_view_tells_nothing_and_has_finite_gradients(measure):
    x, z = views()
    z = torch.zeros_like(z).requires_grad_()
    value = measure(x, z)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-7)
    assert z.grad.isfinite().all()


def test_float32_is_near_float64():
    x, z = views()
    assert nhsic(x, z, precision="float32").dtype == torch.float32
    torch.testing.assert_close(nhsic(x, z, precision="float32").double(), nhsic(x, z), rtol=2e-3, atol=0)


def test_noise_scores_as_its_shuffled_self_and_a_label_more():
    """Not calibrated: what counts is the distance to shuffled rows."""
    rng = generator("noise")
    labels = torch.arange(64) % 4
    x = torch.nn.functional.one_hot(labels, 4).double() + 0.3 * torch.randn(64, 4, generator=rng, dtype=torch.float64)
    noise, order = torch.randn(64, 200, generator=rng, dtype=torch.float64), torch.randperm(64, generator=rng)
    how = Dependence()
    encoded, encoded_noise = how.encode(x), how.encode(noise)
    gap = how.between(encoded, encoded_noise) - how.between(encoded, how.encode(noise[order]))
    onehot = torch.nn.functional.one_hot(labels, 4)
    label, shuffled = (how.between(encoded, how.encode(y, "linear")) for y in (onehot, onehot[order]))
    assert how.between(encoded, encoded_noise) > 1
    assert gap.abs() < 0.1 * how.between(encoded, encoded_noise)
    assert label > 2 * shuffled
