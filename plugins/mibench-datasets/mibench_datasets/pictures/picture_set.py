"""Image files as an image set: a batch is read and decoded when it is asked for.

Shapes: N images, B of a batch, C channels, S = H = W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mibench.api import DataError, ImageSet, from_uint8
from mibench_datasets.pictures.decode import Box, Decoding

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Picture:
    """One file.

    Attributes:
        path: where it is.
        sha256: of its bytes when it was looked at.
        box: the part of it that counts; ``None`` for all of it.
    """

    path: Path
    sha256: str
    box: Box | None = None


@dataclass(frozen=True)
class PictureSet(ImageSet):
    """Labelled image files.

    Attributes:
        pictures: the files.
        labels_N: int64 classes.
        num_classes: number of classes.
        decoding: how they become pixels.
        source: whose they are, for errors.
        fix: the command that mends what is wrong with them.
    """

    pictures: tuple[Picture, ...]
    labels_N: Tensor
    num_classes: int
    decoding: Decoding
    source: str = "image-folder"
    fix: str = ""

    def images(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices: float32 (B, C, S, S) in [0, 1]."""
        return from_uint8(self.pixels(indices_B))

    def pixels(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices: uint8 (B, C, S, S).

        Raises:
            DataError: if a file has gone, has changed, or cannot be decoded.
        """
        side, channels = self.decoding.size, self.decoding.channels
        made = np.empty((len(indices_B), channels, side, side), np.uint8)
        wanted = [self.pictures[index] for index in indices_B.tolist()]
        for place, pixels in enumerate(in_threads(self._decode, wanted)):
            made[place] = pixels
        return torch.from_numpy(made)

    def subset(self, indices_M: Tensor) -> PictureSet:
        """Return the images at these indices as a set of its own."""
        chosen = tuple(self.pictures[index] for index in indices_M.tolist())
        return replace(self, pictures=chosen, labels_N=self.labels_N[indices_M])

    def relabel(self, labels_N: Tensor) -> PictureSet:
        """Return the same images under other labels."""
        return replace(self, labels_N=labels_N)

    def _decode(self, picture: Picture) -> NDArray[np.uint8]:
        where = f"dataset {self.source!r}: {picture.path}"
        try:
            content = picture.path.read_bytes()
            if hashlib.sha256(content).hexdigest() != picture.sha256:
                raise DataError(f"{where} has changed since the files were looked at. {self.fix}".rstrip())
            return self.decoding(content, picture.box)
        except OSError as error:
            raise DataError(f"{where} cannot be read ({error.strerror or error}). {self.fix}".rstrip()) from error


def in_threads(work: Callable[[T], R], items: list[T]) -> list[R]:
    """Do something with each item, in as many threads as torch may use; results keep the order."""
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
