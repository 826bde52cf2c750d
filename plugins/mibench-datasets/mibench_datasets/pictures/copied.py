"""Copies of datasets: made from a survey of their files, and read as image sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from mibench.api import CopiedImage, Copy, DataError, FileNote, read_copy
from mibench_datasets.pictures.decode import Decoding
from mibench_datasets.pictures.picture_set import Picture, PictureSet
from mibench_datasets.pictures.split_file import parts_of, read_split
from mibench_datasets.pictures.survey import Survey

Divide = Callable[[int], Sequence[str]]
"""Says for each of N images, in the order of a paper's code, what it is for."""


def describe(
    dataset: str,
    root: Path,
    survey: Survey,
    *,
    classes: Sequence[str],
    facts: Mapping[str, str],
    place: Mapping[str, str],
    divide: Divide,
    split: Path | None = None,
    order: Mapping[str, int] | None = None,
) -> Copy:
    """Return the description of a copy whose files were looked at.

    Args:
        dataset: its name.
        root: folder of the copy.
        survey: what was found.
        classes: names of all classes, in the order of their numbers; those without a picture are part of the copy.
        facts: what was found of the copy as a whole.
        place: what was found of this place.
        divide: the split that papers use.
        split: a list that takes its place.
        order: place of each image name in the order of the paper's code; ``None`` for class by class.
    """
    images = [
        (owner, name, picture)
        for owner in classes
        for name, picture in zip(survey.names.get(owner, []), survey.pictures.get(owner, []), strict=True)
    ]
    if split is None:
        ranked = sorted(range(len(images)), key=lambda i: order[images[i][1]] if order else i)
        parts = dict(zip(ranked, divide(len(images)), strict=True))
    else:
        listed = parts_of(read_split(split), [(name, picture.sha256) for _, name, picture in images], str(split))
        parts = dict(enumerate(listed))
    made: dict[str, list[CopiedImage]] = {owner: [] for owner in classes}
    for index, (owner, name, picture) in enumerate(images):
        path = picture.path.relative_to(root).as_posix() if picture.path.is_relative_to(root) else name
        made[owner].append(CopiedImage(picture.sha256, path, parts[index], picture.box))
    classed = {owner: tuple(own) for owner, own in made.items()}
    return Copy(dataset, root, classed, dict(facts), dict(place), tuple(survey.notes))


class Reader:
    """Reads a prepared copy.

    Args:
        dataset: its name, for errors.
        path: its description; an empty text is none.
    """

    def __init__(self, dataset: str, path: str) -> None:
        self.dataset = dataset
        self.copy = read_copy(Path(path)) if path else None
        self.classes = list(self.copy.classes) if self.copy else []

    def notes(self) -> Sequence[FileNote]:
        """Return what was noticed of single files."""
        return self.copy.notes if self.copy else ()

    def images(self, number: int) -> Sequence[CopiedImage]:
        """Return the images of a class.

        Raises:
            DataError: if there is no copy, or none of this class.
        """
        if self.copy is None:
            raise DataError(f"dataset {self.dataset!r}: no copy was prepared; run: {command(self.dataset)}")
        found = self.copy.classes[self.classes[number]]
        if not found:
            raise DataError(
                f"dataset {self.dataset!r}: the copy in {self.copy.root} has no usable image of class {number}"
                f" ({self.classes[number]}); complete it and run: {command(self.dataset)}"
            )
        return found

    def load(self, numbers: Sequence[int], decoding: Decoding) -> PictureSet:
        """Return the images of some classes, the k-th as class k."""
        own = [self.images(number) for number in numbers]
        root = self.copy.root if self.copy else Path()
        return PictureSet(
            pictures=tuple(Picture(root / one.name, one.sha256, one.box) for images in own for one in images),
            labels_N=torch.tensor([k for k, images in enumerate(own) for _ in images], dtype=torch.long),
            num_classes=len(numbers),
            decoding=decoding,
            source=self.dataset,
            fix=f"See: mibench data check {self.dataset}",
        )

    def parts(self, numbers: Sequence[int]) -> list[str]:
        """Return what each image of some classes is for."""
        return [one.part for number in numbers for one in self.images(number)]


def command(dataset: str) -> str:
    """Return how a copy is prepared."""
    return f"mibench data prepare {dataset} --from FOLDER"
