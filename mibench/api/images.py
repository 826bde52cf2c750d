"""The image convention at every boundary: float32, NCHW, [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mibench.api.errors import MibenchError


def check_images(x_NCHW: Tensor, *, where: str) -> Tensor:
    """Return the images unchanged, or say what is wrong with them.

    Args:
        x_NCHW: images that cross a boundary.
        where: who handed them over, for the error.

    Raises:
        MibenchError: unless they are finite float32 of shape (N, 1 or 3, H, W) in [0, 1].
    """
    if x_NCHW.dtype != torch.float32 or x_NCHW.ndim != 4 or x_NCHW.shape[1] not in (1, 3):
        raise MibenchError(
            f"{where}: expected float32 images (N, 1 or 3, H, W), got {x_NCHW.dtype} {tuple(x_NCHW.shape)}"
        )
    if x_NCHW.numel():
        low, high = x_NCHW.min().item(), x_NCHW.max().item()
        if not (low >= 0.0 and high <= 1.0):  # also catches NaN
            raise MibenchError(f"{where}: expected values in [0, 1], got [{low:.4g}, {high:.4g}]")
    return x_NCHW


def to_uint8(x_NCHW: Tensor) -> Tensor:
    """Quantise images in [0, 1] to 8 bits, as a saved PNG would hold them.

    >>> to_uint8(torch.tensor([0.0, 0.5, 1.0, 1.2])).tolist()
    [0, 128, 255, 255]
    """
    return (x_NCHW.clamp(0, 1) * 255).round().to(torch.uint8)


def from_uint8(x_NCHW: Tensor) -> Tensor:
    """Return 8-bit images as float32 in [0, 1]."""
    return x_NCHW.to(torch.float32) / 255


def resize(x_NCHW: Tensor, size: int) -> Tensor:
    """Resize to ``size`` x ``size`` pixels, bilinear with antialiasing; the identity if the size is right already.

    >>> resize(torch.zeros(2, 3, 8, 8), 4).shape
    torch.Size([2, 3, 4, 4])
    """
    if x_NCHW.shape[-2:] == (size, size):
        return x_NCHW
    return interpolate(x_NCHW, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def to_rgb(x_NCHW: Tensor) -> Tensor:
    """Repeat a grey channel three times; RGB images are returned as they are."""
    return x_NCHW if x_NCHW.shape[1] == 3 else x_NCHW.expand(-1, 3, -1, -1)
