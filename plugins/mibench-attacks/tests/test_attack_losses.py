import math

import numpy as np
import pytest
import torch
from mibench_attacks.losses.objectives import ce, identity_loss, logit, max_margin, poincare, topk_margin
from torch.testing import assert_close

NAMES = ["poincare", "ce", "logit", "max_margin", "topk_margin"]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (ce, 0.349012),
        (logit, -2.0),
        (max_margin, -1.0),
        (lambda logits, y: topk_margin(logits, y, k=2), -2.0),
        (lambda logits, y: topk_margin(logits, y, k=0), -2.0),
        (poincare, 9.392612),
    ],
)
def test_the_reference_vector(loss, expected):
    got = loss(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0]))
    assert_close(got, torch.tensor([expected]), atol=2e-6, rtol=0)


def poincare_in_float64(logits, y, xi=1e-4):
    u = logits / np.abs(logits).sum(1, keepdims=True)
    v = np.clip(np.eye(logits.shape[1])[y] - xi, 0, 1)
    delta = 2 * ((u - v) ** 2).sum(1) / ((1 - (u**2).sum(1)) * (1 - (v**2).sum(1)))
    return np.arccosh(1 + delta)


@pytest.mark.parametrize("classes", [2, 10, 530])
@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0])
def test_poincare_equals_float64_numpy(classes, scale):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, classes)) * scale
    y = rng.integers(0, classes, 64)
    got = poincare(torch.from_numpy(logits).float(), torch.from_numpy(y))
    np.testing.assert_allclose(got.numpy(), poincare_in_float64(logits, y), rtol=2e-5)


def test_poincare_ignores_scale_but_not_shift():
    logits, y = torch.tensor([[2.0, 1.0, -1.0], [0.3, -2.0, 4.0]]), torch.tensor([0, 2])
    assert_close(poincare(3 * logits, y), poincare(logits, y))
    assert not torch.allclose(poincare(logits + 1, y), poincare(logits, y), atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_per_sample_float32_and_finite_with_gradients_at_the_edges(name):
    edges = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3e4, -3e4], [1.0, 1e-7]], requires_grad=True)
    loss = identity_loss(name)(edges, torch.zeros(5, dtype=torch.int64))
    loss.sum().backward()
    assert loss.shape == (5,)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss).all()
    assert torch.isfinite(edges.grad).all()
    assert identity_loss(name)(edges.detach().bfloat16(), torch.zeros(5, dtype=torch.int64)).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_a_step_downhill_raises_the_target_confidence(name):
    logits = torch.tensor([[0.5, 1.0, -1.0]], requires_grad=True)
    identity_loss(name)(logits, torch.tensor([0])).sum().backward()
    after = (logits - 0.1 * logits.grad).softmax(1)[0, 0]
    assert after > logits.softmax(1)[0, 0]


def test_more_rivals_than_classes_uses_all():
    logits = torch.tensor([[2.0, 1.0, -1.0]])
    assert_close(identity_loss("topk_margin", topk=20)(logits, torch.tensor([0])), torch.tensor([-2.0]))
    assert math.isclose(float(max_margin(logits, torch.tensor([1]))), 1.0)
