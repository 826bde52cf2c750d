"""How a target guides a generator: views against sampling by hand, margins and pseudo labels against numpy."""

import math

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.parts import pseudo_labels as module
from mibench_models.priors.parts.pseudo_labels import draw_pairs, pseudo_labels
from mibench_models.priors.parts.target_guidance import changed, margin

from mibench.api import generator
from mibench.testing import TinyWorld


def view_by_hand(image, u):
    """Look at a random place of an image as the docstring says: crop, rotation, mirror, brightness, contrast."""
    channels, side = image.shape[0], image.shape[1]
    share = math.sqrt(0.8 + 0.2 * u[0])
    right, down = (1 - share) * (2 * u[1] - 1), (1 - share) * (2 * u[2] - 1)
    angle = math.radians(5) * (2 * u[3] - 1)
    sign = -1.0 if u[4] < 0.5 else 1.0
    out = np.zeros_like(image)
    for row in range(side):
        for column in range(side):
            x, y = ((2 * place + 1) / side - 1 for place in (column, row))
            seen_x = share * (sign * math.cos(angle) * x - math.sin(angle) * y) + right
            seen_y = share * (sign * math.sin(angle) * x + math.cos(angle) * y) + down
            out[:, row, column] = by_hand.bilinear(image, (seen_x + 1) * side / 2 - 0.5, (seen_y + 1) * side / 2 - 0.5)
    assert channels == len(out)
    out = out * (1 + 0.2 * (2 * u[5] - 1))
    return out.mean() + (1 + 0.2 * (2 * u[6] - 1)) * (out - out.mean())


def test_views_equal_sampling_pixel_by_pixel():
    x = torch.rand(6, 3, 9, 9, generator=generator("seen"))
    draws = array(torch.rand(7, 6, generator=generator("view")))
    truth = np.stack([view_by_hand(array(image), draws[:, index]) for index, image in enumerate(x)])
    np.testing.assert_allclose(array(changed(x, generator("view"))), truth, atol=2e-5)
    assert 0 < (draws[4] < 0.5).sum() < 6  # some were mirrored


def test_views_are_differentiable_and_keep_each_image_apart():
    x = torch.rand(3, 1, 8, 8, generator=generator("apart"), requires_grad=True)
    y = changed(x, generator("view"))
    (slope,) = torch.autograd.grad(y[1].sum(), x)
    assert slope[1].abs().sum() > 0
    assert not slope[[0, 2]].any()


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_margin_equals_numpy(k):
    logits = torch.randn(5, 4, generator=generator("margin"))
    y = torch.tensor([0, 3, 1, 2, 2])
    rows = array(logits)
    expected = []
    for row, label in zip(rows, y.tolist(), strict=True):
        others = sorted(np.delete(row, label), reverse=True)[:k]
        expected.append(np.mean(others) - row[label])
    np.testing.assert_allclose(array(margin(logits, y, k=k)), expected, atol=1e-6)


def test_margin_of_half_precision_is_float32():
    logits = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16)
    assert margin(logits, torch.tensor([0])).dtype == torch.float32


def test_pseudo_labels_equal_numpy_over_several_passes(monkeypatch):
    world = TinyWorld()
    target, images = world.target(), world.images("public")
    monkeypatch.setattr(module, "BATCH", 7)
    found = pseudo_labels(target, images, 6, device=torch.device("cpu"))
    p = by_hand.softmax(array(world.trained()(images.all_images())))
    assert found.dtype == torch.int64
    assert found.shape == (4, 6)
    for label in range(4):
        expected = np.argsort(-p[:, label], kind="stable")[:6]
        np.testing.assert_allclose(p[found[label], label], p[expected, label], rtol=1e-5)
        assert set(found[label].tolist()) == set(expected.tolist())
    assert target.ledger.forward == len(images)


def test_pairs_walk_the_table_row_by_row():
    index = torch.tensor([[5, 6, 7], [8, 9, 5]])
    chosen, labels = draw_pairs(index, 500, generator("pairs"))
    places = torch.randint(6, (500,), generator=generator("pairs"))
    assert torch.equal(chosen, torch.tensor([5, 6, 7, 8, 9, 5])[places])
    assert torch.equal(labels, torch.tensor([0, 0, 0, 1, 1, 1])[places])
