"""From the bytes of one image file to 8-bit pixels.

Shapes: C channels, S = H = W pixels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""Formats that are opened; Pillow's others run foreign programs or are no photographs."""
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of grey with more than 8 bits."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels; what lies outside of the picture is cut off."""


@dataclass(frozen=True)
class Decoding:
    """How a file becomes pixels.

    Attributes:
        size: S, side of the square in pixels.
        channels: 1 (grey, ITU-R 601) or 3 (RGB).
        fit: ``"crop"`` cuts the largest square out of the middle, ``"squash"`` scales both sides alike to S.
        exif: whether the orientation that a camera noted is applied.
    """

    size: int
    channels: int
    fit: Literal["crop", "squash"] = "crop"
    exif: bool = True

    def __call__(self, content: bytes, box: Box | None = None) -> NDArray[np.uint8]:
        """Return the pixels of a file: uint8 (C, S, S).

        The area is resized bilinearly with antialiasing. Colours of other modes are converted as Pillow (and
        torchvision's own loader) does, which drops transparency; grey of 16 bits is scaled to 8.

        Args:
            content: the file.
            box: the part to take, in pixels of the stored picture; ``None`` for all of it.

        Raises:
            OSError: if it is no image, or is damaged.
        """
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            image = to_8_bits(opened).convert("L" if self.channels == 1 else "RGB")
            if self.exif and box is None:
                image = ImageOps.exif_transpose(image)
        if box is not None:
            image = image.crop(_inside(box, image.size))
        area = _square(image.size) if self.fit == "crop" else (0, 0, *image.size)
        made = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=area)
        return np.ascontiguousarray(np.asarray(made).reshape(self.size, self.size, self.channels).transpose(2, 0, 1))


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return a picture with at most 8 bits per channel; grey of 16 bits is divided by 257 and rounded.

    Raises:
        OSError: for pixels whose range is not known (floats, or integers above 16 bits).
    """
    if image.mode == "F":
        raise OSError("its pixels are floating-point numbers, whose range no file states")
    if image.mode not in DEEP_MODES:
        return image
    deep_HW = np.asarray(image).astype(np.int64)
    if deep_HW.min() < 0 or deep_HW.max() > 65535:
        raise OSError("its pixels are integers of more than 16 bits")
    made = Image.fromarray(((deep_HW + 128) // 257).astype(np.uint8))
    made.info.update(image.info)
    return made


def _square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _inside(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    cut = (max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1]))
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise OSError(f"the box {box} lies outside of the picture, which has {size[0]} x {size[1]} pixels")
    return cut
