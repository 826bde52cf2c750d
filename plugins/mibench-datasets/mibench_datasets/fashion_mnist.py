"""The dataset ``fashion-mnist``: 70 000 pictures of ten kinds of clothes.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
2017 (MIT licence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mibench.api import DataError, Dataset, InputFile, TensorImages
from mibench_datasets.idx import CLASSES, lacking, read_folder

PACKAGED = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package ``dataset-fashion-mnist`` puts the files."""
EACH = 7_000


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Dataset):
    """Ten classes of 7 000 grey pictures of 28 x 28 pixels, the 6 000 for training of each class first.

    Attributes:
        folder: folder with the four IDX files, compressed or not; empty for where Debian's dataset-fashion-mnist puts
            them.
    """

    folder: Annotated[str, InputFile()] = ""

    def num_identities(self) -> int:
        """Return 10."""
        return CLASSES

    def num_images(self, identity: int) -> int:
        """Return 7 000."""
        return EACH

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Return all pictures of these classes.

        Raises:
            DataError: if files are missing or damaged.
            UsageError: for a class that does not exist, or an impossible size or number of channels.
        """
        if lines := self.missing():
            raise DataError("dataset 'fashion-mnist': " + "; ".join(lines))
        return read_folder(self._place).load("fashion-mnist", identities, size=size, channels=channels)

    def missing(self) -> list[str]:
        """Return how to get the files, if they are not there."""
        if not (absent := lacking(self._place)):
            return []
        return [
            f"{', '.join(absent)} in {self._place}; run: apt install dataset-fashion-mnist, or give the dataset's"
            " parameter 'folder'"
        ]

    @property
    def _place(self) -> Path:
        return Path(self.folder) if self.folder else PACKAGED
