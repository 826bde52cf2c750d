"""The formulas that other tests compare with, against torch in float64."""

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from torch.nn import functional

from mibench.api import generator


def drawn(*shape):
    return torch.randn(*shape, generator=generator("by hand", *shape), dtype=torch.float64)


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 0, 1), (1, 1, 3), (2, 2, 5), (2, 1, 4)])
def test_convolution(stride, padding, kernel):
    x, w, b = drawn(2, 3, 8, 8), drawn(4, 3, kernel, kernel), drawn(4)
    truth = functional.conv2d(x, w, b, stride=stride, padding=padding)
    found = by_hand.convolved(array(x), array(w), array(b), stride=stride, padding=padding)
    np.testing.assert_allclose(found, truth, atol=1e-12)


def test_transposed_convolution():
    x, w = drawn(2, 3, 4, 4), drawn(3, 2, 5, 5)
    truth = functional.conv_transpose2d(x, w, stride=2, padding=2, output_padding=1)
    found = by_hand.transposed(array(x), array(w), stride=2, padding=2, output_padding=1)
    np.testing.assert_allclose(found, truth, atol=1e-12)


def test_norms():
    x, w, b = drawn(3, 4, 5, 5), drawn(4), drawn(4)
    np.testing.assert_allclose(by_hand.standardised(array(x), (2, 3)), functional.instance_norm(x), atol=1e-12)
    truth = functional.group_norm(x, 2, w, b)
    np.testing.assert_allclose(by_hand.grouped(array(x), 2, array(w), array(b)), truth, atol=1e-12)


def test_activations():
    x = drawn(50)
    np.testing.assert_allclose(by_hand.leaky(array(x)), functional.leaky_relu(x, 0.2))
    np.testing.assert_allclose(by_hand.swish(array(x)), functional.silu(x))
    np.testing.assert_allclose(by_hand.softplus(array(x)), functional.softplus(x), atol=1e-9)
    np.testing.assert_allclose(by_hand.softmax(array(x)), x.softmax(0))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(decay):
    value, gradients = drawn(6), [drawn(6), -drawn(6), 2 * drawn(6)]
    parameter = torch.nn.Parameter(value.clone())
    theirs = torch.optim.AdamW([parameter], lr=0.1, betas=(0.4, 0.9), weight_decay=decay)
    ours, moved = by_hand.Adam(0.1, (0.4, 0.9), decay=decay), array(value)
    for gradient in gradients:
        parameter.grad = gradient
        theirs.step()
        moved = ours.moved(moved, array(gradient))
        np.testing.assert_allclose(moved, array(parameter), atol=1e-12)


def test_bilinear_sampling():
    image = drawn(2, 4, 6)
    grid = torch.rand(1, 5, 7, 2, generator=generator("grid"), dtype=torch.float64) * 2.4 - 1.2
    truth = functional.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
    for row in range(5):
        for column in range(7):
            x, y = (float((grid[0, row, column, axis] + 1) * side / 2 - 0.5) for axis, side in ((0, 6), (1, 4)))
            found = by_hand.bilinear(array(image), x, y)
            np.testing.assert_allclose(found, truth[:, row, column], atol=1e-12)
