"""A user's copy of a dataset that cannot be shipped: looked through once, by ``mibench data prepare``, and described.

These files lie in the folder of a copy. ``copy.json`` is what the copy *is*: classes, the SHA-256 of every image, what
each is for, and which part of a picture counts. It names no place and no file, so equal copies have equal bytes, and
its digest stands in keys and records. ``where.json`` says where the images lie here, ``notes.json`` what was noticed of
single files. ``split.txt`` lists what each image is for, to be given to others who have the same pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mibench.api.errors import DataError, UsageError
from mibench.api.folders import home_folder, named_folder

VARIABLE = "MIBENCH_DATA"
COPY, WHERE, NOTES, SPLIT = "copy.json", "where.json", "notes.json", "split.txt"
VERSION = 1

PARTS = ("train", "val", "test", "unused")
"""What an image can be for, where a dataset and not the protocol decides it."""


@dataclass(frozen=True)
class FileNote:
    """What is to be said about one file of a dataset.

    Attributes:
        name: of the file, below the dataset's folder.
        kind: ``"unusable"``, ``"ignored"`` (the settings say so), ``"converted"`` (used, but changed when it is read),
            ``"duplicate"``, or another word of the dataset's.
        reason: in words.
    """

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class CopiedImage:
    """One image of a copy.

    Attributes:
        sha256: of the file's bytes.
        name: of the file, below the copy's root, with slashes.
        part: what it is for, one of ``PARTS``; empty if the protocol decides.
        box: left, top, right and bottom edge of the part that counts, in pixels; ``None`` for all of it.
    """

    sha256: str
    name: str
    part: str = ""
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Copy:
    """A copy of a dataset.

    Attributes:
        dataset: its name.
        root: folder that the images lie in.
        classes: the images of each class, by name, in the order of class numbers.
        facts: what was found of the copy as a whole, and its images are made by, such as a crop.
        place: what was found of this place, such as the layout of its folders; equal copies may differ in it.
        notes: what was noticed of single files.
    """

    dataset: str
    root: Path
    classes: Mapping[str, Sequence[CopiedImage]]
    facts: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[FileNote] = ()

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(map(len, self.classes.values()))

    def parts(self) -> dict[str, int]:
        """Return how many images are for what."""
        found = [image.part for images in self.classes.values() for image in images]
        return {part: found.count(part) for part in PARTS if part in found}

    def class_digest(self, name: str) -> str:
        """Return the SHA-256 over the images of a class."""
        return hashlib.sha256(_text([_row(image) for image in self.classes[name]])).hexdigest()

    def content(self) -> bytes:
        """Return what ``copy.json`` holds."""
        rows = [
            {"name": name, "sha256": self.class_digest(name), "images": [_row(image) for image in images]}
            for name, images in self.classes.items()
        ]
        return _text({"version": VERSION, "dataset": self.dataset, "facts": dict(self.facts), "classes": rows})

    @property
    def digest(self) -> str:
        """The SHA-256 of ``copy.json``: of what the copy is, wherever it lies."""
        return hashlib.sha256(self.content()).hexdigest()

    def _split(self) -> Iterator[str]:
        """Yield a line for each image; where equal files are for different things, by their names."""
        images = [image for own in self.classes.values() for image in own if image.part]
        parts: dict[str, set[str]] = {}
        for image in images:
            parts.setdefault(image.sha256, set()).add(image.part)
        for image in images:
            yield f"{image.part} {image.sha256 if len(parts[image.sha256]) == 1 else image.name}"

    def write(self, folder: Path) -> Path:
        """Write the files, each whole, and return the path of ``copy.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [[image.name for image in images] for images in self.classes.values()]
        _replace(folder / NOTES, _text([asdict(note) for note in self.notes]))
        _replace(
            folder / WHERE,
            _text({"copy": self.digest, "root": str(self.root), "place": dict(self.place), "names": names}),
        )
        _replace(folder / SPLIT, "\n".join(["# part, SHA-256 of the file (or its name)", *self._split(), ""]).encode())
        _replace(folder / COPY, self.content())
        return folder / COPY


def copy_file(name: str) -> Path:
    """Return where the copy of a dataset is described: ``copy.json`` below ``$MIBENCH_DATA``, or the user's cache.

    Args:
        name: of the dataset.

    Raises:
        UsageError: if there is no such variable and the user has no home.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen.strip():
        return named_folder(chosen, VARIABLE) / name / COPY
    home = home_folder()
    if home is None:
        raise UsageError(f"this user has no home; choose a folder for descriptions of datasets with {VARIABLE}")
    return home / ".cache" / "mibench-imported" / "datasets" / name / COPY


def read_copy(path: Path) -> Copy:
    """Return the copy that a ``copy.json`` describes.

    Raises:
        DataError: if it cannot be read, or what lies beside it belongs to another one.
    """
    try:
        content = path.read_bytes()
        raw, where = json.loads(content), json.loads((path.parent / WHERE).read_bytes())
        notes = tuple(FileNote(**note) for note in json.loads((path.parent / NOTES).read_bytes()))
        if raw["version"] != VERSION or where["copy"] != hashlib.sha256(content).hexdigest():
            raise ValueError("it was not written together with the files beside it")
        classes = {
            entry["name"]: tuple(_image(row, name) for row, name in zip(entry["images"], names, strict=True))
            for entry, names in zip(raw["classes"], where["names"], strict=True)
        }
        return Copy(raw["dataset"], Path(where["root"]), classes, raw["facts"], where["place"], notes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not describe a copy of a dataset ({error}); prepare it again") from error


def _row(image: CopiedImage) -> list[Any]:
    return [image.sha256, image.part, list(image.box) if image.box else None]


def _image(row: Sequence[Any], name: str) -> CopiedImage:
    sha256, part, box = row
    return CopiedImage(sha256, name, part, tuple(box) if box else None)


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
