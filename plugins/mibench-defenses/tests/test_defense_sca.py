"""Sparse coding against dense matrices and hand calculation, and where it sits in a network."""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import pytest
import torch
from mibench_defenses.methods.sca import SparseCoding
from mibench_defenses.parts.lca import ConvLca, Lca
from mibench_defenses.parts.sparse_front_end import SparseFrontEnd, standardise
from mibench_models.small_cnn import SmallCnn
from mibench_models.small_resnet import SmallResNet
from mibench_models.torchvision_zoo import ResNet18
from torch import nn

from mibench.api import Defense, UsageError, params, seeded
from mibench.testing import DefenseContract, TinyWorld, train_steps

WORLD = TinyWorld()
SHAPES = [(1, 2, 5, 2, 9, 8), (2, 3, 3, 1, 5, 6), (2, 3, 5, 3, 7, 7), (1, 2, 7, 4, 10, 12), (2, 2, 1, 1, 4, 4)]


def made(**settings) -> SparseCoding:
    """Return the defense with these settings, by their names in keys."""
    return params.build(SparseCoding, settings)


class TestContract(DefenseContract):
    component = SparseCoding


class TestContractOfTrainedDictionary(DefenseContract):
    component = SparseCoding
    settings: ClassVar[dict] = {"dictionary": "autograd", "segment": 2, "iterations": 5}


class TestContractOfHebbianDictionary(DefenseContract):
    component = SparseCoding
    settings: ClassVar[dict] = {"dictionary": "hebbian", "channels": (6, 4), "iterations": 5}


class TestContractOfCodeAsImage(DefenseContract):
    component = SparseCoding
    settings: ClassVar[dict] = {**SparseCoding.presets["daredeval"], "tau": 6, "iterations": 4}


def layer(channels: int, features: int, kernel: int, stride: int, trained: bool = False, **options) -> ConvLca:
    how = Lca(**{"kernel": kernel, "stride": stride, "lam": 0.1, "tau": 20.0, "iterations": 100} | options)
    with seeded("lca"):
        return ConvLca(channels, features, how, trained=trained).double()


def dense(lca: ConvLca, channels: int, height: int, width: int) -> np.ndarray:
    """Write the dictionary out, pixels of a canvas with a border by coefficients: each filter at each position."""
    filters, stride = lca.dictionary.detach().numpy(), lca.stride
    features, _, kernel, _ = filters.shape
    rows, columns = -(-height // stride), -(-width // stride)
    border = kernel // 2
    matrix = np.zeros((channels, height + 2 * border, width + 2 * border, features, rows, columns))
    for f in range(features):
        for i in range(rows):
            for j in range(columns):
                top, left = i * stride, j * stride
                matrix[:, top : top + kernel, left : left + kernel, f, i, j] = filters[f]
    return matrix.reshape(-1, features * rows * columns)


def on_canvas(u: torch.Tensor, border: int) -> np.ndarray:
    return np.pad(u.numpy(), ((0, 0), (border, border), (border, border))).ravel()


@pytest.mark.parametrize(("channels", "features", "kernel", "stride", "height", "width"), SHAPES)
def test_lateral_kernel_is_the_gram_matrix_without_its_diagonal(channels, features, kernel, stride, height, width):
    lca = layer(channels, features, kernel, stride)
    phi = dense(lca, channels, height, width)
    gram = phi.T @ phi
    np.testing.assert_allclose(np.diag(gram), 1, rtol=1e-6)
    rows, columns = -(-height // stride), -(-width // stride)
    units = torch.eye(phi.shape[1], dtype=torch.float64).view(-1, features, rows, columns)
    np.testing.assert_allclose(
        (lca.analyse(lca.synthesise(units)) - units).flatten(1).numpy(), gram - np.eye(len(gram)), atol=1e-12
    )


@pytest.mark.parametrize(("channels", "features", "kernel", "stride", "height", "width"), SHAPES)
@pytest.mark.parametrize("segment", [0, 7])
def test_iterations_equal_dense_float64_matrices(channels, features, kernel, stride, height, width, segment):
    lca = layer(channels, features, kernel, stride, iterations=30, tau=12.0, segment=segment)
    u = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    phi = dense(lca, channels, height, width)
    drive, lateral = phi.T @ on_canvas(u, kernel // 2), phi.T @ phi - np.eye(phi.shape[1])
    v = np.zeros_like(drive)
    for _ in range(30):
        a = np.maximum(v - 0.1, 0)
        v = v + (drive - v - lateral @ a) / 12
    got = lca(u[None].clone().requires_grad_())
    np.testing.assert_allclose(got.detach().ravel().numpy(), v, atol=1e-12)
    a = np.maximum(v - 0.1, 0)
    code = lca.threshold(got.detach())
    back = lca.images(lca.synthesise(code), (height, width))[0]
    border = kernel // 2
    whole = (phi @ a).reshape(channels, height + 2 * border, width + 2 * border)
    inside = whole[:, border : border + height, border : border + width]
    np.testing.assert_allclose(back.numpy(), inside, atol=1e-12)
    left = np.linalg.norm(on_canvas(u, border) - phi @ a) / np.linalg.norm(u.numpy())
    activity, silenced, error = lca.summary(u[None], got.detach()).tolist()
    assert activity == pytest.approx((a > 0).mean())
    assert silenced == pytest.approx(((v > 0) & (v <= 0.1)).sum() / (v > 0).sum())
    assert error == pytest.approx(left)


def energies(lam: float, lengths: list[int]) -> tuple[list[float], list[float]]:
    x, _ = WORLD.batch(2)
    u = standardise(x.double()).u
    energy, error = [], []
    for iterations in lengths:
        lca = layer(3, 12, 5, 2, lam=lam, tau=20.0, iterations=iterations)
        a = lca.threshold(lca(u))
        left = lca.canvas(u) - lca.synthesise(a)
        assert a.min() >= 0
        energy.append(float(left.square().sum() / 2 + lam * a.sum()))
        error.append(float(left.norm()))
    return energy, error


def test_energy_and_error_fall_with_iterations():
    energy, error = energies(0.1, [1, 5, 10, 20, 40, 80, 160, 320])
    assert energy == sorted(energy, reverse=True)
    assert error[0] > error[2] > error[4] > error[6]
    assert energy[-1] < 0.9 * energy[0]


def test_limit_fulfils_the_optimality_conditions_of_the_lasso():
    x, _ = WORLD.batch(1)
    u = standardise(x[..., :8, :8].double()).u
    lca = layer(3, 4, 5, 2, lam=0.3, tau=10.0, iterations=2000)
    a = lca.threshold(lca(u))
    pull = lca.analyse(lca.canvas(u) - lca.synthesise(a))  # minus the gradient of the squared error
    assert (pull <= 0.3 + 1e-6).all()
    assert (pull[a > 1e-6] - 0.3).abs().max() < 1e-6
    assert 0 < (a > 0).double().mean() < 1


def test_a_high_threshold_gives_an_empty_code_and_a_flat_image():
    defense = made(lam=1e6)
    trained = train_steps(defense, WORLD, epochs=1)
    x, _ = WORLD.batch()
    prepared = trained.deployed._prepare(x)
    shown = trained.deployed.front(prepared)
    torch.testing.assert_close(shown, prepared.mean((1, 2, 3), keepdim=True).expand_as(shown))
    verdict = defense.self_check(trained.model, trained.ctx)
    assert not verdict.active
    assert verdict.signals["lca0_activity"] == 0
    assert verdict.signals["lca0_error"] == pytest.approx(1)


def test_images_are_standardised_one_by_one():
    x, _ = WORLD.batch()
    u, mean, std = standardise(x)
    torch.testing.assert_close(u.mean((1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(u.square().mean((1, 2, 3)), torch.ones(8))
    torch.testing.assert_close(u * std + mean, x)
    assert standardise(torch.full((1, 3, 4, 4), 0.3)).u.abs().max() < 0.2  # constant: rounding noise is not blown up


def test_hebbian_step_equals_hand_calculation():
    lca = layer(2, 3, 3, 2)
    rng = torch.Generator().manual_seed(2)
    u = torch.rand(2, 2, 5, 5, generator=rng, dtype=torch.float64)
    a = torch.relu(torch.rand(2, 3, 3, 3, generator=rng, dtype=torch.float64) - 0.5)
    before, phi = lca.dictionary.numpy().copy(), dense(lca, 2, 5, 5)
    residual = [on_canvas(u[b], 1) - phi @ a[b].numpy().ravel() for b in range(2)]
    change, active = np.zeros_like(before), np.zeros(3)
    for b in range(2):
        canvas = residual[b].reshape(2, 7, 7)
        for f in range(3):
            for i in range(3):
                for j in range(3):
                    change[f] += a[b, f, i, j].item() * canvas[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                    active[f] += a[b, f, i, j].item() > 0
    expected = before + 0.3 * change / (active + 1)[:, None, None, None]
    expected /= np.sqrt((expected**2).sum((1, 2, 3), keepdims=True))
    lca.hebbian_step(u, a, 0.3)
    np.testing.assert_allclose(lca.dictionary.numpy(), expected, atol=1e-12)


def test_gradients_flow_through_the_iterations_with_or_without_checkpoints():
    u = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    grads = []
    for segment in (0, 3):
        lca = layer(1, 2, 3, 2, lam=0.01, tau=5.0, iterations=5, segment=segment, trained=True)
        assert torch.autograd.gradcheck(lambda image, lca=lca: lca(image), (u.clone().requires_grad_(),))
        lca(u).square().sum().backward()
        grads.append(lca.dictionary.grad)
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0].abs().max() > 0


def test_hebbian_learning_improves_the_dictionary_and_fixed_ones_stay():
    first, last = {}, {}
    for how in ("fixed", "hebbian", "autograd"):
        defense = made(dictionary=how, eta=0.2)
        with seeded(0, "init"):
            start = defense.build(WORLD.classifier(), WORLD.context()).front.layers[0].dictionary.detach().clone()
        trained = train_steps(defense, WORLD, epochs=4)
        end = trained.model.front.layers[0].dictionary.detach()
        torch.testing.assert_close(end.flatten(1).norm(dim=1), torch.ones(12))
        assert torch.equal(start, end) is (how == "fixed")
        first[how], last[how] = (trained.ctx.history[i]["lca0_error"] for i in (0, -1))
        assert defense.self_check(trained.model, trained.ctx).active
    assert last["hebbian"] < 0.9 * last["fixed"]
    assert last["fixed"] == pytest.approx(first["fixed"], rel=0.05)


def test_the_network_keeps_its_paths_head_stages_and_normalisation():
    plain = WORLD.classifier().eval()
    names, stages, inputs = list(plain.state_dict()), list(plain.stage_names), []
    model = made().build(copy.deepcopy(plain), WORLD.context()).eval()
    assert [n for n in model.state_dict() if not n.startswith("front.")] == names
    assert (model.head_path, model.stage_names) == (plain.head_path, stages)
    x, _ = WORLD.batch()
    assert list(model.stages(x)) == stages
    assert model.features(x).shape == (8, model.feature_dim)
    plain.body.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    shown = model.front(plain._prepare(x))
    expected = plain.body(shown)
    torch.testing.assert_close(model(x), expected)
    model.replace_head(nn.Linear(model.feature_dim, 7))
    assert model(x).shape == (8, 7)


def test_a_copy_has_a_front_of_its_own():
    model = made().build(WORLD.classifier().eval(), WORLD.context()).eval()
    other, (x, _) = copy.deepcopy(model), WORLD.batch()
    before = model(x)
    other.front.layers[0].dictionary.zero_()
    assert torch.equal(model(x), before)
    assert not torch.equal(other(x), before)


@pytest.mark.parametrize(
    ("settings", "active"),
    [({}, True), ({"lam": 0.0}, False), ({"lam": 1e6}, False), ({"channels": (12, 8)}, True)],
)
def test_activation_signal(settings: dict, active: bool):
    defense = made(**settings)
    trained = train_steps(defense, WORLD, epochs=1)
    verdict = defense.self_check(trained.model, trained.ctx)
    assert verdict.active is active
    assert "coefficients" in verdict.reason
    assert len(verdict.signals) == 3 * len(defense.channels)
    trained.ctx.history = []
    assert not defense.self_check(trained.model, trained.ctx).active


def test_a_diverging_descent_is_inactive():
    defense = made(channels=(64,), tau=1.0, iterations=10)
    trained = train_steps(defense, WORLD, epochs=1, lr=1e-30)  # no weight moves
    assert trained.ctx.history[-1]["lca0_error"] > 1
    assert not defense.self_check(trained.model, trained.ctx).active


@pytest.mark.parametrize(("features", "kernel", "stride"), [(12, 5, 2), (3, 7, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_default_time_constant_is_stable_whatever_is_active(features: int, kernel: int, stride: int, channels: int):
    lca = layer(channels, features, kernel, stride)
    a = torch.rand(1, features, -(-24 // stride), -(-24 // stride), dtype=torch.float64)
    for _ in range(40):
        a = a / a.norm()
        a = lca.analyse(lca.synthesise(a))
    assert a.norm() < 2 * made().lca.tau


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"kernel": 4}, "odd"), ({"kernel": 3, "stride": 3}, "at most"), ({"reconstruct": False}, "stride 1")],
)
def test_impossible_settings_are_refused(settings: dict, match: str):
    with pytest.raises(UsageError, match=match):
        params.build(SparseCoding, settings)


def test_a_code_that_does_not_fit_the_network_is_refused():
    defense = made(reconstruct=False, stride=1, channels=(5,))
    with pytest.raises(UsageError, match="takes 3 channels and the code has 5"):
        defense.build(WORLD.classifier(), WORLD.context())


@pytest.mark.parametrize(("model", "channels"), [(ResNet18(), 3), (ResNet18(), 1), (SmallCnn(), 1), (SmallResNet(), 3)])
def test_a_step_on_real_networks(model, channels: int):
    world = TinyWorld(size=64, channels=channels)
    defense = made(iterations=5, tau=5.0)
    classifier = defense.build(model.build(num_classes=4, channels=channels, size=64), world.context())
    step = defense.training_step(classifier, *world.batch(4), world.context())
    step.loss.backward()
    assert step.loss.isfinite()
    assert isinstance(classifier.front, SparseFrontEnd)


def test_training_step_is_left_to_other_defenses():
    assert SparseCoding.training_step is Defense.training_step
    assert SparseCoding.loss is Defense.loss


def test_presets_and_cost():
    paper = params.build(SparseCoding, SparseCoding.presets["paper"])
    published = {"channels": [16, 32], "kernel": 5, "lam": 0.5, "tau": 100, "iterations": 500}
    assert published.items() <= params.canonical(paper).items()
    assert params.build(SparseCoding, SparseCoding.presets["small"]) == made()
    adds = 2 * 25 * 12 * 3 * 25 * 32 * 32
    assert made().cost() == pytest.approx(1 + adds / (3 * 8.7e6))
    assert made(dictionary="autograd").cost() == pytest.approx(1 + adds / 8.7e6)
