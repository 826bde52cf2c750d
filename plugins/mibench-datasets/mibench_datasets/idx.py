"""Images of ten classes in the format of MNIST: files of unsigned bytes with a header of their shape (IDX).

Shapes: N images, C channels, S = H = W pixels.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mibench.api import DataError, TensorImages, from_uint8, resize, to_uint8
from mibench_datasets.checks import check_request

CLASSES, SIDE = 10, 28
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class TenClasses:
    """All images of such a dataset, those for training first.

    Attributes:
        pixels_NSS: uint8 (N, 28, 28).
        labels_N: class of each.
    """

    pixels_NSS: NDArray[np.uint8]
    labels_N: NDArray[np.int64]

    def load(self, dataset: str, classes: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Return all images of some classes, the k-th as class k, each class in the order of the files.

        Raises:
            UsageError: for a class that does not exist, or an impossible size or number of channels.
        """
        check_request(dataset, classes, CLASSES, size=size, channels=channels)
        own = [np.flatnonzero(self.labels_N == number) for number in classes]
        rows = np.concatenate([np.zeros(0, np.int64), *own])
        pixels_NCSS = torch.from_numpy(self.pixels_NSS[rows][:, None])
        if size != SIDE:
            parts = pixels_NCSS.split(4096)
            pixels_NCSS = torch.cat([to_uint8(resize(from_uint8(part), size)) for part in parts] or [pixels_NCSS])
        labels_N = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(part) for part in own]))
        return TensorImages(pixels_NCSS.repeat(1, channels, 1, 1), labels_N, len(classes))


def read_folder(folder: Path) -> TenClasses:
    """Read the four files of a folder, compressed with gzip or not.

    Raises:
        DataError: if one is missing, or not what its name says.
    """
    images, labels, more_images, more_labels = (_read(folder, name) for name in NAMES)
    pixels, classes = np.concatenate([images, more_images]), np.concatenate([labels, more_labels])
    if pixels.ndim != 3 or pixels.shape[1:] != (SIDE, SIDE) or len(pixels) != len(classes) or classes.max() >= CLASSES:
        raise DataError(f"{folder}: expected pictures of 28 x 28 pixels and a class of 0 to 9 for each")
    return TenClasses(pixels, classes.astype(np.int64))


def lacking(folder: Path) -> list[str]:
    """Return which of the four files a folder lacks."""
    return [name for name in NAMES if not any((folder / f"{name}{end}").is_file() for end in ("", ".gz"))]


def _read(folder: Path, name: str) -> NDArray[np.uint8]:
    plain, packed = folder / name, folder / f"{name}.gz"
    try:
        content = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    except (OSError, EOFError) as error:  # a page that was saved under this name is no gzip file
        raise DataError(f"{packed} cannot be read ({error}); fetch it again") from error
    axes = content[3] if len(content) > 3 else 0
    begin = 4 + 4 * axes
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, begin, 4)]
    if content[:3] != b"\0\0\x08" or not axes or len(content) - begin != int(np.prod(shape)):
        raise DataError(f"{folder / name} is no IDX file of unsigned bytes, or is cut off; fetch it again")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)
