"""The PCA prior against numpy's SVD."""

import numpy as np
import pytest
import torch
from mibench_models.priors import pca
from mibench_models.priors.pca import PcaPrior

from mibench.api import TensorImages, UsageError, generator
from mibench.api.params import build


def _images(n: int, channels: int = 1, side: int = 8) -> TensorImages:
    pixels = torch.randint(0, 256, (n, channels, side, side), generator=generator("images", n), dtype=torch.uint8)
    return TensorImages(pixels, torch.zeros(n, dtype=torch.long), 1)


def _fit(model: PcaPrior, images: TensorImages, channels: int = 1, side: int = 8):
    trainer = model.trainer(model.build(channels=channels, size=side), images, seed=0, device=torch.device("cpu"))
    signals = [trainer.step(i) for i in range(trainer.total_steps)]
    return trainer.finish(), signals[-1]


@pytest.mark.parametrize("mirror", [False, True])
def test_matches_numpy(mirror: bool) -> None:
    images = _images(40)
    prior, signals = _fit(PcaPrior(components=10, mirror=mirror), images)
    x = images.all_images().double().numpy()
    if mirror:
        x = np.concatenate([x, x[..., ::-1]])
    x = x.reshape(len(x), -1)
    _, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(prior.mean.flatten(), x.mean(0), atol=1e-6)
    np.testing.assert_allclose(prior.scale, s[:10] / np.sqrt(len(x) - 1), rtol=1e-5)
    np.testing.assert_allclose(np.abs((prior.basis.numpy() * v[:10]).sum(1)), 1, atol=1e-5)
    assert signals["explained"] == pytest.approx((s[:10] ** 2).sum() / (s**2).sum(), rel=1e-6)


def test_render_of_projection_reconstructs_training_images_when_rank_suffices() -> None:
    images = _images(12)
    prior, signals = _fit(PcaPrior(components=100, mirror=False), images)  # fewer images than components
    assert signals["components"] == 11
    x = images.all_images()
    torch.testing.assert_close(prior.render(prior.project(x)), x, atol=1e-4, rtol=0)
    assert prior.sample(3, generator(0)).shape == (3, 100)


def test_projection_is_the_least_squares_reconstruction() -> None:
    images = _images(40)
    prior, _ = _fit(PcaPrior(components=5), images)
    x = images.all_images()
    centred = (x - prior.mean).flatten(1)
    expected = prior.mean.flatten() + centred @ prior.basis.T @ prior.basis
    torch.testing.assert_close(prior.render(prior.project(x)).flatten(1), expected, atol=1e-5, rtol=0)


def test_large_matrices_agree_with_the_exact_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = generator("spectrum")
    x = torch.randn(200, 120, generator=rng, dtype=torch.float64) * torch.logspace(0, -2, 120, dtype=torch.float64)
    exact = pca.principal_components(x, 8, generator(0))
    monkeypatch.setattr(pca, "EXACT_SIDE", 50)
    fast = pca.principal_components(x, 8, generator(0))
    for a, b in zip(exact, fast, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_truncation_and_gradients() -> None:
    prior, _ = _fit(PcaPrior(components=6), _images(20, channels=3), channels=3)
    z = prior.sample(2, generator(1))
    assert prior.to_latent(z).shape == (2, 1, 6)
    torch.testing.assert_close(prior.to_latent(z, truncation=0.5), z[:, None] / 2)
    torch.testing.assert_close(prior.to_latent(z, truncation=0.5, cutoff=0), z[:, None])
    torch.testing.assert_close(prior.render(prior.to_latent(z, truncation=0.0))[0], prior.mean)
    latent = prior.to_latent(z).requires_grad_()
    prior.render(latent).sum().backward()
    assert latent.grad is not None and latent.grad.abs().sum() > 0


def test_parameters_are_validated() -> None:
    with pytest.raises(UsageError, match=">= 1"):
        build(PcaPrior, {"components": 0})


def test_state_round_trip() -> None:
    model, images = PcaPrior(components=4), _images(20)
    prior, _ = _fit(model, images)
    other = model.trainer(model.build(channels=1, size=8), images, seed=0, device=torch.device("cpu"))
    other.load_state(prior.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.state().values(), prior.state_dict().values(), strict=True))
