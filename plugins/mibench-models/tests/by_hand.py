"""Formulas written out in float64 with numpy, for tests to compare networks and trainings with."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


def array(tensor: torch.Tensor) -> Array:
    """Return a tensor's numbers in float64."""
    return tensor.detach().cpu().double().numpy()


def convolved(x: Array, weight: Array, bias: Array | None = None, *, stride: int = 1, padding: int = 0) -> Array:
    """Correlate images (B, I, H, W) with a kernel (O, I, K, K), one tap at a time."""
    kernel = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    side = (padded.shape[-1] - kernel) // stride + 1
    out = np.zeros((len(x), len(weight), side, side))
    for row in range(kernel):
        for column in range(kernel):
            seen = padded[:, :, row : row + stride * side : stride, column : column + stride * side : stride]
            out += np.einsum("bihw,oi->bohw", seen, weight[:, :, row, column])
    return out if bias is None else out + bias[:, None, None]


def transposed(x: Array, weight: Array, *, stride: int, padding: int, output_padding: int) -> Array:
    """Spread every pixel of images (B, I, H, W) over its neighbourhood with a kernel (I, O, K, K)."""
    batch, _, height, width = x.shape
    kernel = weight.shape[-1]
    full = np.zeros((batch, weight.shape[1], *((n - 1) * stride + kernel + output_padding for n in (height, width))))
    for row in range(height):
        for column in range(width):
            spread = np.einsum("bi,iokl->bokl", x[:, :, row, column], weight)
            full[:, :, row * stride : row * stride + kernel, column * stride : column * stride + kernel] += spread
    side = (height - 1) * stride - 2 * padding + kernel + output_padding
    return full[:, :, padding : padding + side, padding : padding + side]


def standardised(x: Array, axes: tuple[int, ...], eps: float = 1e-5) -> Array:
    """Subtract the mean and divide by the standard deviation over some axes."""
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def grouped(x: Array, groups: int, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    """Normalise images over groups of channels."""
    batch, channels = x.shape[:2]
    whole = standardised(x.reshape(batch, groups, -1), (2,), eps).reshape(x.shape)
    return whole * weight.reshape(1, channels, 1, 1) + bias.reshape(1, channels, 1, 1)


def leaky(x: Array, slope: float = 0.2) -> Array:
    """Return x above zero and ``slope`` times x below."""
    return np.where(x > 0, x, slope * x)


def swish(x: Array) -> Array:
    """Return ``x / (1 + exp(-x))``."""
    return x / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))``."""
    return np.logaddexp(0, x)


def softmax(x: Array) -> Array:
    """Return the softmax over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Adam:
    """Adam as its paper states it, on one parameter; ``decay`` of weights is AdamW's."""

    def __init__(self, lr: float, betas: tuple[float, float], eps: float = 1e-8, decay: float = 0.0) -> None:
        self.lr, self.betas, self.eps, self.decay = lr, betas, eps, decay
        self.first: Array | float = 0.0
        self.second: Array | float = 0.0
        self.steps = 0

    def moved(self, value: Array, gradient: Array) -> Array:
        """Return the parameter after a step along a gradient."""
        one, two = self.betas
        self.steps += 1
        self.first = one * self.first + (1 - one) * gradient
        self.second = two * self.second + (1 - two) * gradient**2
        mean, square = self.first / (1 - one**self.steps), self.second / (1 - two**self.steps)
        return value * (1 - self.lr * self.decay) - self.lr * mean / (np.sqrt(square) + self.eps)


def bilinear(image: Array, x: float, y: float) -> Array:
    """Return the pixel (C,) of an image (C, H, W) at a place in pixels from the centre of the first; edges repeat."""
    height, width = image.shape[1:]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = math.floor(x), math.floor(y)
    right, low = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
    under = (1 - a) * image[:, low, left] + a * image[:, low, right]
    return np.asarray((1 - b) * upper + b * under)
