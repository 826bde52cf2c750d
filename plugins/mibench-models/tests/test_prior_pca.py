"""The PCA prior against numpy's SVD."""

import numpy as np
import pytest
import torch
from mibench_models.priors import pca
from mibench_models.priors.pca import PcaPrior

from mibench.api import MibenchError, TensorImages, UsageError, generator
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


def test_directions_are_orthonormal_and_have_a_sign() -> None:
    prior, _ = _fit(PcaPrior(components=8, mirror=False), _images(30))
    torch.testing.assert_close(prior.basis @ prior.basis.T, torch.eye(8), atol=1e-5, rtol=0)
    for direction in prior.basis:
        assert direction[direction.abs().argmax()] > 0
    assert (prior.scale.diff() <= 0).all()


def test_samples_have_the_spread_of_the_data() -> None:
    images = _images(60)
    prior, _ = _fit(PcaPrior(components=5, mirror=False), images)
    x = prior.render(prior.to_latent(prior.sample(4000, generator("many")))).flatten(1).double()
    along = (x - prior.mean.flatten()) @ prior.basis.double().T
    np.testing.assert_allclose(along.std(0), prior.scale, rtol=0.05)


@pytest.mark.parametrize("count", [1, 2])
def test_images_that_do_not_differ_leave_only_the_mean(count: int) -> None:
    same = _images(1).subset(torch.zeros(count, dtype=torch.long))
    prior, signals = _fit(PcaPrior(components=4, mirror=False), same)
    assert signals == {"explained": 1.0, "components": 0.0}
    x = same.all_images()
    torch.testing.assert_close(
        prior.render(prior.to_latent(prior.sample(3, generator(0)))), x[:1].expand(3, -1, -1, -1)
    )
    torch.testing.assert_close(prior.project(x), torch.zeros(count, 1, 4))


def test_an_unfitted_prior_renders_grey() -> None:
    prior = PcaPrior(components=3).build(channels=3, size=8)
    assert (prior.render(prior.to_latent(prior.sample(2, generator(0)))) == 0.5).all()


def test_the_exact_decomposition_is_chosen_by_the_smaller_side(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(60, 40, generator=generator("sides"), dtype=torch.float64)
    calls: list[int] = []
    honest = torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda *a, **k: calls.append(1) or honest(*a, **k))
    pca.principal_components(x, 5, generator(0))
    assert not calls
    monkeypatch.setattr(pca, "EXACT_SIDE", 39)
    pca.principal_components(x, 19, generator(0))
    assert len(calls) == 7  # one for the start and six iterations
    calls.clear()
    pca.principal_components(x, 20, generator(0))  # 20 extra columns would be all there are
    assert not calls


def test_a_fit_needs_images_and_a_prior_of_its_own() -> None:
    model = PcaPrior(components=2)
    empty = TensorImages(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.long), 1)
    with pytest.raises(MibenchError, match="at least one public image"):
        model.trainer(model.build(channels=1, size=8), empty, seed=0, device=torch.device("cpu"))
    with pytest.raises(TypeError, match="expected a LinearFaces"):
        model.trainer(torch.nn.Linear(1, 1), _images(3), seed=0, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="start=1"):
        model.build(channels=1, size=8).render(torch.zeros(1, 1, 2), start=1)
