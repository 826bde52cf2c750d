"""Modulated convolution, computed by scaling activations instead of weights.

Shapes: B batch, I inputs, O outputs, K kernel side, H x W pixels, R side after the layer, W size of a style vector.
A weight scaled by the style of its input channel is the same as an input scaled by it, and demodulation scales output
channels; so one set of weights serves the whole batch, the convolution is an ordinary one, and frozen weights cost no
gradient (Karras et al. 2020, sec. 2.2 and appendix B, give the weight-scaling form).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from mibench_models.priors.stylegan2.compute import Compute, convolve
from mibench_models.priors.stylegan2.layers import LRELU_GAIN, SLOPE, EqualLinear
from mibench_models.priors.stylegan2.resample import binomial_filter, conv_upsample


def demodulation(w_OIKK: Tensor, style_BI: Tensor) -> Tensor:
    """Return the factors (B, O) that bring the scaled weights of every output channel to unit length."""
    power_OI = w_OIKK.square().sum(dim=(2, 3))
    return torch.rsqrt(style_BI.square() @ power_OI.T + 1e-8)


def modulated_conv(
    x_BIHW: Tensor, w_OIKK: Tensor, style_BI: Tensor, *, fir_44: Tensor | None = None, compute: Compute = "fp32"
) -> Tensor:
    """Convolve with weights scaled per input channel and sample, without demodulation.

    Args:
        x_BIHW: features.
        w_OIKK: shared weights.
        style_BI: scale of each input channel.
        fir_44: smoothing filter of an upsampling convolution; ``None`` keeps the side.
        compute: arithmetic of the convolution; see ``compute.convolve``.

    Returns:
        (B, O, H, W), or twice the side.
    """
    if compute == "bf16":
        x_BIHW = x_BIHW.bfloat16()
    scaled_BIHW = x_BIHW * style_BI[:, :, None, None].to(x_BIHW.dtype)
    if fir_44 is not None:
        return conv_upsample(scaled_BIHW, w_OIKK, fir_44, compute)
    return convolve(scaled_BIHW, w_OIKK, compute, stride=1, padding=w_OIKK.shape[-1] // 2, transposed=False)


class SynthesisLayer(nn.Module):
    """Style, convolution with demodulation, noise, bias, leaky ReLU.

    Attributes:
        affine: style vector to the scales of the input channels.
        weight: (O, I, 3, 3).
        noise_const: (R, R) fixed noise.
        noise_strength: scalar, starts at 0.
        bias: (O,).
        compute: arithmetic of the convolution; bf16 also keeps the features in bfloat16.
    """

    compute: Compute = "fp32"
    fir: Tensor
    noise_const: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, w_dim: int, side: int, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = EqualLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.register_buffer("noise_const", torch.randn(side, side))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("fir", binomial_filter(), persistent=False)

    def forward(self, x_BIHW: Tensor, w_BW: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return (B, O, R, R).

        Args:
            x_BIHW: features.
            w_BW: one style vector per sample.
            noise: CPU generator of fresh noise (training); ``None`` uses the fixed noise.
        """
        style_BI = self.affine(w_BW)
        y_BORR = modulated_conv(
            x_BIHW, self.weight, style_BI, fir_44=self.fir if self.up else None, compute=self.compute
        )
        demod_BO11 = (demodulation(self.weight, style_BI) * LRELU_GAIN)[:, :, None, None].to(y_BORR.dtype)
        grain = self._noise(len(x_BIHW), noise) * (self.noise_strength * LRELU_GAIN)
        if noise is None:  # noise and bias are one constant map: a single fused operation
            offset = grain + (self.bias * LRELU_GAIN)[:, None, None]
            y_BORR = torch.addcmul(offset.to(y_BORR.dtype), y_BORR, demod_BO11)
        else:
            y_BORR = torch.addcmul(grain, y_BORR, demod_BO11) + (self.bias * LRELU_GAIN)[:, None, None]
        y_BORR = leaky_relu(y_BORR, SLOPE)
        if self.clamp is not None:
            y_BORR = y_BORR.clamp(-self.clamp, self.clamp)
        return y_BORR

    def _noise(self, batch: int, noise: torch.Generator | None) -> Tensor:
        if noise is None:
            return self.noise_const
        side = self.noise_const.shape[-1]
        return torch.randn(batch, 1, side, side, generator=noise).to(self.noise_const.device)


class ToRgb(nn.Module):
    """Features to image channels: a modulated 1 x 1 convolution without demodulation.

    Attributes:
        affine: style vector to the scales of the input channels.
        weight: (channels, I, 1, 1).
        bias: (channels,).
        compute: arithmetic of the convolution; the image is float32 in any case.
    """

    compute: Compute = "fp32"

    def __init__(self, inputs: int, channels: int, *, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x_BIHW: Tensor, w_BW: Tensor) -> Tensor:
        """Return an image (B, channels, H, W)."""
        y_BCHW = modulated_conv(x_BIHW, self.weight, self.affine(w_BW) * self.weight_gain, compute=self.compute)
        y_BCHW = y_BCHW.to(self.bias.dtype) + self.bias[:, None, None]
        return y_BCHW if self.clamp is None else y_BCHW.clamp(-self.clamp, self.clamp)
