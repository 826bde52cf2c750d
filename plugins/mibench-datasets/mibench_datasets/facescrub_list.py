"""The official lists of FaceScrub: where in which picture a face is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from mibench.api import DataError
from mibench_datasets.facescrub_people import class_of
from mibench_datasets.pictures.decode import Box

LISTS = ("facescrub_actors.txt", "facescrub_actresses.txt")
COLUMNS = ("name", "image_id", "face_id", "url", "bbox", "sha256")


@dataclass(frozen=True)
class Listed:
    """A line of a list.

    Attributes:
        box: of the face, in pixels of the whole picture.
        sha256: of the picture as it was when the list was made.
    """

    box: Box
    sha256: str


def read_lists(root: Path) -> dict[tuple[int, int], Listed]:
    """Return the faces that the lists in a folder name, by class and number of the picture; none without lists.

    Raises:
        DataError: for a list with other columns, or a line that cannot be read.
    """
    found: dict[tuple[int, int], Listed] = {}
    for path in (root / name for name in LISTS):
        if path.is_file():
            found |= _read(path)
    return found


def _read(path: Path) -> dict[tuple[int, int], Listed]:
    found: dict[tuple[int, int], Listed] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}, got {rows.fieldnames}")
        for number, row in enumerate(rows, 2):
            try:
                left, top, right, bottom = map(int, row["bbox"].split(","))
                person = class_of(row["name"])
                image = int(row["image_id"])
            except (ValueError, AttributeError) as error:
                raise DataError(f"{path}, line {number} cannot be read: {error}") from error
            if person is None:
                raise DataError(f"{path}, line {number}: {row['name']!r} is no person of FaceScrub")
            found[person[0], image] = Listed((left, top, right, bottom), row["sha256"])
    return found
