"""Parts of defenses that perturb inputs."""

import numpy as np
import pytest
import torch
from torch import nn

from mibench.api import batchnorm_policy, generator, other_class, pgd, without_weight_gradients

CHI2_999 = {1: 10.83, 3: 16.27, 8: 26.12}
"""99.9 % quantiles of chi-square by degrees of freedom (any table)."""


@pytest.mark.parametrize("classes", [3, 5, 10])
def test_the_other_class_is_uniform_over_the_others(classes):
    draws = 6000
    for label in range(classes):
        y = torch.full((draws,), label)
        counts = torch.bincount(other_class(y, classes, generator("chi2", classes, label)), minlength=classes).tolist()
        assert counts.pop(label) == 0
        expected = draws / (classes - 1)
        chi2 = sum((count - expected) ** 2 / expected for count in counts)
        assert chi2 < CHI2_999[classes - 2]


def test_every_other_class_has_exactly_one_shift():
    # With K classes there are K - 1 equally likely shifts, and they reach each other class once: exact uniformity.
    reached = {(label, (label + shift) % 7) for label in range(7) for shift in range(1, 7)}
    assert reached == {(a, b) for a in range(7) for b in range(7) if a != b}
    drawn = other_class(torch.zeros(500, dtype=torch.long), 7, generator("shifts"))
    assert set(drawn.tolist()) == set(range(1, 7))


def test_two_classes_leave_no_choice_and_one_is_an_error():
    y = torch.tensor([0, 1, 1, 0])
    assert other_class(y, 2, generator(0)).tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match="2 classes"):
        other_class(y, 1, generator(0))


def test_the_other_class_never_touches_global_randomness():
    before = torch.get_rng_state()
    other_class(torch.zeros(9, dtype=torch.long), 4, generator(0))
    assert torch.equal(torch.get_rng_state(), before)


def _norm():
    norm = nn.BatchNorm2d(2)
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(4.0)
    norm.train()
    return norm


X = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("policy", "normalised_by", "buffers_move"),
    [("train", "batch", True), ("eval", "running", False), ("frozen_stats", "batch", False)],
)
def test_batchnorm_policies(policy, normalised_by, buffers_move):
    norm = _norm()
    model = nn.Sequential(norm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with batchnorm_policy(model, policy):
        out = model(X)
    mean, var = X.mean((0, 2, 3)), X.var((0, 2, 3), unbiased=False)
    if normalised_by == "running":
        mean, var = torch.full((2,), 3.0), torch.full((2,), 4.0)
    by_hand = (X - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
    assert torch.allclose(out, by_hand, atol=1e-5)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == ({"0.running_mean", "0.running_var", "0.num_batches_tracked"} if buffers_move else set())
    assert norm.training
    assert norm.track_running_stats


@pytest.mark.parametrize("policy", ["train", "eval", "frozen_stats"])
def test_an_evaluating_network_stays_so_and_errors_restore_everything(policy):
    norm = _norm().eval()
    with pytest.raises(ZeroDivisionError), batchnorm_policy(norm, policy):
        assert torch.allclose(norm(X), (X - 3) / (4 + norm.eps) ** 0.5)
        1 / 0  # noqa: B018
    assert not norm.training
    assert norm.running_mean.tolist() == [3, 3]


def test_pgd_stays_in_the_ball_and_in_range_and_one_step_is_the_sign():
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = weight
    x = torch.tensor([[[[0.5, 0.005]]]])
    kwargs = {"eps": 0.01, "step_size": 0.02, "steps": 1, "rng": generator(0), "random_start": False}
    # Class 0 likes the first pixel and dislikes the second; the second one stops at 0.
    assert torch.allclose(pgd(model, x, torch.tensor([0]), targeted=True, **kwargs), torch.tensor([0.51, 0.0]))
    assert torch.allclose(pgd(model, x, torch.tensor([0]), targeted=False, **kwargs), torch.tensor([0.49, 0.015]))


def test_weight_gradients_are_off_inside_and_as_before_outside():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    before = [p.requires_grad for p in model.parameters()]
    with without_weight_gradients(model):
        assert not any(p.requires_grad for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == before


class _Quadratic(nn.Module):
    """Two logits of a random quadratic form, so that gradients differ from step to step."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        self.forms = torch.randn(2, 12, 12, generator=rng, dtype=torch.float64)

    def forward(self, x):
        flat = x.flatten(1).to(self.forms)
        return torch.einsum("bi,kij,bj->bk", flat, self.forms, flat)


def _images(n=6):
    return torch.rand(n, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("targeted", [True, False])
def test_l2_steps_equal_numpy_in_float64(targeted):
    model, x, y = _Quadratic(), _images(), torch.tensor([0, 1, 0, 1, 1, 0])
    kwargs = {"eps": 0.3, "step_size": 0.12, "steps": 4, "random_start": False, "norm": "l2"}
    got = pgd(model, x, y, targeted=targeted, rng=generator(0), **kwargs).numpy()

    forms = model.forms.numpy()
    for image, label, moved in zip(x.numpy().reshape(6, 12), y.tolist(), got.reshape(6, 12), strict=True):
        z = image.copy()
        for _ in range(4):
            logits = np.array([z @ form @ z for form in forms])
            p = np.exp(logits - logits.max())
            p /= p.sum()
            slopes = np.stack([(form + form.T) @ z for form in forms])
            gradient = (p - np.eye(2)[label]) @ slopes
            z = z + (-1 if targeted else 1) * 0.12 * gradient / np.linalg.norm(gradient)
            delta = z - image
            z = np.clip(image + delta * min(1, 0.3 / np.linalg.norm(delta)), 0, 1)
        np.testing.assert_allclose(moved, z, atol=1e-12)


def test_one_l2_step_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[3.0, 4.0], [-3.0, -4.0]])
    x = torch.full((1, 1, 1, 2), 0.5)
    kwargs = {"eps": 0.1, "steps": 1, "rng": generator(0), "random_start": False, "norm": "l2", "targeted": True}
    # The gradient points along (3, 4) / 5; a step of 0.05 stays inside, one of 9 is cut back to the radius.
    moved = pgd(model, x, torch.tensor([0]), step_size=0.05, **kwargs)
    torch.testing.assert_close(moved, torch.tensor([[[[0.53, 0.54]]]]))
    moved = pgd(model, x, torch.tensor([0]), step_size=9.0, **kwargs)
    torch.testing.assert_close(moved, torch.tensor([[[[0.56, 0.58]]]]))


@pytest.mark.parametrize("steps", [0, 1, 20])
def test_l2_stays_in_the_ball_and_in_range(steps):
    x = (2 * _images(32) - 0.5).clamp(0, 1)
    y = torch.arange(32) % 2
    moved = pgd(_Quadratic(), x, y, eps=0.4, step_size=0.1, steps=steps, rng=generator("l2"), targeted=False, norm="l2")
    assert (moved - x).flatten(1).norm(dim=1).max() <= 0.4 + 1e-12
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not moved.requires_grad


def test_the_l2_start_is_uniform_in_the_ball():
    # Of a ball in 12 dimensions the share r^12 lies within r of the radius, and every direction is as likely.
    x = torch.full((4000, 3, 2, 2), 0.5, dtype=torch.float64)
    y = torch.zeros(4000, dtype=torch.long)
    moved = pgd(_Quadratic(), x, y, eps=0.3, step_size=1.0, steps=0, rng=generator(5), targeted=True, norm="l2")
    delta = (moved - x).flatten(1)
    share = (delta.norm(dim=1) / 0.3).pow(12).sort().values
    expected = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    assert (share - expected).abs().max() < 1.95 / 4000**0.5  # Kolmogorov-Smirnov, 99.9 %
    spread = (delta / delta.norm(dim=1, keepdim=True)).T @ (delta / delta.norm(dim=1, keepdim=True)) / 4000
    assert (spread - torch.eye(12, dtype=torch.float64) / 12).abs().max() < 0.01
    assert delta.mean(0).abs().max() < 4 * 0.3 / (12 * 4000) ** 0.5


def test_a_vanishing_l2_gradient_moves_nothing():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2).double())
    nn.init.zeros_(flat[1].weight)
    x = _images()
    kwargs = {"eps": 0.3, "step_size": 0.1, "steps": 3, "rng": generator(0), "random_start": False, "norm": "l2"}
    moved = pgd(flat, x, torch.zeros(6, dtype=torch.long), targeted=False, **kwargs)
    assert torch.equal(moved, x)
