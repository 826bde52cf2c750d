"""Pictures for a report: what was private, and what an attack made of it.

Shapes: H, W pixels, C channels (1 or 3).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
MAX_ROWS, MAX_IMAGES, MAX_SIDE = 24, 8, 160


@dataclass(frozen=True)
class GalleryRow:
    """One attacked class.

    Attributes:
        label: what the class is called.
        private: the nearest private image, HWC uint8; ``None`` where it must not be shown.
        reconstructions: the attack's images, best first, HWC uint8.
        captions: a line below each reconstruction; may be shorter than ``reconstructions``.
        identified: whether the independent judge recognises the person in each; ``None`` or absent is unknown.
    """

    label: str
    private: NDArray[Any] | None
    reconstructions: Sequence[NDArray[Any]]
    captions: Sequence[str] = ()
    identified: Sequence[bool | None] = ()


@dataclass(frozen=True)
class Gallery:
    """The pictures of one cell.

    Attributes:
        title: the cell as people read it; a gallery belongs to the record with the same label
            (``mibench.results.io.label``).
        rows: one for each attacked class; a report shows the first 24, and 8 images of each.
    """

    title: str
    rows: Sequence[GalleryRow]


@dataclass(frozen=True)
class Picture:
    """An image ready for HTML: data URI, alternative text, and what stands below."""

    uri: str
    alt: str
    caption: str
    mark: str = ""


@dataclass(frozen=True)
class Strip:
    """One row of a gallery, ready for HTML."""

    label: str
    pictures: tuple[Picture, ...]


def strips(gallery: Gallery) -> list[Strip]:
    """Encode a gallery's pictures.

    Raises:
        ValueError: for an array that is not HWC uint8 with 1 or 3 channels.
    """
    return [Strip(row.label, tuple(_pictures(row))) for row in gallery.rows[:MAX_ROWS]]


def data_uri(pixels_HWC: NDArray[Any]) -> str:
    """Encode an image as a PNG in a data URI, shrunk to at most 160 pixels a side.

    Raises:
        ValueError: for an array that is not HWC uint8 with 1 or 3 channels.
    """
    array = np.asarray(pixels_HWC)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"gallery image is {array.dtype} {array.shape}; expected uint8 (H, W, 1 or 3)")
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _pictures(row: GalleryRow) -> list[Picture]:
    made = []
    if row.private is not None:
        made.append(Picture(data_uri(row.private), f"{row.label}: nearest private image", "private"))
    for index, pixels_HWC in enumerate(row.reconstructions[:MAX_IMAGES]):
        known = row.identified[index] if index < len(row.identified) else None
        mark = "" if known is None else "re-identified" if known else "not re-identified"
        alt = f"{row.label}: reconstruction {index + 1}" + (f", {mark}" if mark else "")
        caption = row.captions[index] if index < len(row.captions) else f"reconstruction {index + 1}"
        made.append(Picture(data_uri(pixels_HWC), alt, caption, mark))
    return made
