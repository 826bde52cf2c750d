"""Equalised linear and convolution layers: weights are stored at unit scale and scaled when used.

Shapes: B batch, I inputs, O outputs, K kernel side, H x W pixels.
Source: Karras et al., "Progressive Growing of GANs" (ICLR 2018), sec. 4.1; StyleGAN2 keeps the layer.
The gain of an activation is folded into weight and bias, because leaky ReLU is positively homogeneous.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, linear

from mibench_models.priors.stylegan2.resample import binomial_filter, conv_downsample

SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""

LRELU_GAIN = math.sqrt(2)
"""Gain that keeps the variance through a leaky ReLU."""


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate.

    Attributes:
        weight: (O, I), drawn from N(0, 1 / lr_multiplier^2).
        bias: (O,).
    """

    def __init__(
        self, inputs: int, outputs: int, *, activate: bool = False, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.activate = activate
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x_BI: Tensor) -> Tensor:
        """Return (B, O)."""
        gain = LRELU_GAIN if self.activate else 1.0
        y_BO = linear(x_BI, self.weight * (self.weight_gain * gain), self.bias * (self.bias_gain * gain))
        return leaky_relu(y_BO, SLOPE) if self.activate else y_BO


class EqualConv(nn.Module):
    """A convolution with equalised learning rate, optional smoothing and decimation, and leaky ReLU.

    Attributes:
        weight: (O, I, K, K).
        bias: (O,) or ``None``.
    """

    fir: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        bias: bool = True,
        activate: bool = True,
        down: bool = False,
        clamp: float | None = None,
    ) -> None:
        """Make the layer.

        Args:
            inputs: I.
            outputs: O.
            kernel: K, odd.
            bias: whether to add a bias.
            activate: whether a leaky ReLU follows.
            down: whether to halve the side.
            clamp: bound on the output before the caller's gain (256 in official networks); ``None`` for none.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.activate, self.down, self.clamp = activate, down, clamp
        self.weight_gain = 1 / math.sqrt(inputs * kernel**2)
        self.register_buffer("fir", binomial_filter(), persistent=False)

    def forward(self, x_BIHW: Tensor, gain: float = 1.0) -> Tensor:
        """Return (B, O, H, W), or half the side if ``down``; ``gain`` multiplies the result."""
        scale = gain * (LRELU_GAIN if self.activate else 1.0)
        weight = self.weight * (self.weight_gain * scale)
        if self.down:
            y_BOHW = conv_downsample(x_BIHW, weight, self.fir)
            if self.bias is not None:
                y_BOHW = y_BOHW + (self.bias * scale)[:, None, None]
        else:
            bias = None if self.bias is None else self.bias * scale
            y_BOHW = conv2d(x_BIHW, weight, bias, padding=weight.shape[-1] // 2)
        if self.activate:
            y_BOHW = leaky_relu(y_BOHW, SLOPE)
        return y_BOHW if self.clamp is None else y_BOHW.clamp(-self.clamp * gain, self.clamp * gain)
