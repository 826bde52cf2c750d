"""Up- and downsampling with the binomial filter [1, 3, 3, 1], alone and around a convolution.

Shapes: B images, C channels (I in, O out), H x W pixels, K kernel side.
The filter is symmetric, so that correlation and convolution are one. Every operation treats pixels outside the image
as zero, as the official ``upfirdn2d`` does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from mibench_models.priors.stylegan2.compute import Compute, convolve

TAPS = (1.0, 3.0, 3.0, 1.0)
"""The filter along one axis before normalisation."""


def binomial_filter() -> Tensor:
    """Return the separable filter as a 4 x 4 matrix that sums to 1 (float32)."""
    taps = torch.tensor(TAPS)
    outer = torch.outer(taps, taps)
    return outer / outer.sum()


def _depthwise(fir_44: Tensor, channels: int) -> Tensor:
    return fir_44.expand(channels, 1, 4, 4)


def upsample(x_BCHW: Tensor, fir_44: Tensor) -> Tensor:
    """Double the side: insert zeros, then smooth with gain 4, so that the mean is kept.

    Returns:
        (B, C, 2H, 2W).
    """
    channels = x_BCHW.shape[1]
    return conv_transpose2d(x_BCHW, _depthwise(fir_44 * 4, channels), stride=2, padding=1, groups=channels)


def downsample(x_BCHW: Tensor, fir_44: Tensor) -> Tensor:
    """Halve the side: smooth, then keep every second pixel.

    Returns:
        (B, C, H / 2, W / 2).
    """
    channels = x_BCHW.shape[1]
    return conv2d(x_BCHW, _depthwise(fir_44, channels), stride=2, padding=1, groups=channels)


def conv_upsample(x_BIHW: Tensor, w_OI33: Tensor, fir_44: Tensor, compute: Compute = "fp32") -> Tensor:
    """Insert zeros, convolve with a 3 x 3 kernel (in the given arithmetic), smooth: StyleGAN2's upsampling convolution.

    Returns:
        (B, O, 2H, 2W).
    """
    y_BOhw = convolve(x_BIHW, w_OI33.transpose(0, 1), compute, stride=2, padding=0, transposed=True)
    channels = y_BOhw.shape[1]
    return conv2d(y_BOhw, _depthwise(fir_44 * 4, channels).to(y_BOhw.dtype), padding=1, groups=channels)


def conv_downsample(x_BIHW: Tensor, w_OIKK: Tensor, fir_44: Tensor) -> Tensor:
    """Smooth, then convolve with stride 2; a 1 x 1 kernel is applied after the decimation, which is the same.

    Returns:
        (B, O, H / 2, W / 2).
    """
    if w_OIKK.shape[-1] == 1:
        return conv2d(downsample(x_BIHW, fir_44), w_OIKK)
    channels = x_BIHW.shape[1]
    y_BIhw = conv2d(x_BIHW, _depthwise(fir_44, channels), padding=2, groups=channels)
    return conv2d(y_BIhw, w_OIKK, stride=2)
