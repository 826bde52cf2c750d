"""The dataset ``image-folder``: any folder ``root/<class>/<image>``, as torchvision's ``ImageFolder`` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge

from mibench.api import DataError, Dataset, FileNote, InputFile
from mibench_datasets.checks import check_request
from mibench_datasets.pictures.decode import Decoding
from mibench_datasets.pictures.picture_set import PictureSet
from mibench_datasets.pictures.split_file import parts_of, read_split
from mibench_datasets.pictures.survey import Candidate, Survey, look_at, plain_name, summary
from mibench_datasets.pictures.tree import Found, is_text, walk

_NO_ROOT = (
    "a folder of images, root/<class>/<image>: give its path as the dataset's parameter 'root'"
    " (in a protocol file, under dataset.params)"
)


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Images in a folder for each class; classes are numbered in the order of their names.

    Every file below the root is looked at once and decoded; ``notes`` says which are not used, or are changed when they
    are read, and why. Files in sub-folders of a class belong to it. Symbolic links are followed.

    Attributes:
        root: the folder; what counts is its content, not where it lies.
        extensions: endings of names that are images, in lower case; files with others are ignored (and noted).
        min_images: the fewest usable images of a class; classes with fewer are ignored (and noted).
        min_side: the fewest pixels that either side of a usable image has.
        exif: whether the orientation that a camera noted is applied.
        fit: ``"crop"`` cuts the largest square out of the middle, ``"squash"`` scales both sides to the same length.
        unusable: what to do if files cannot be used: ``"refuse"`` to work, naming them, or ``"skip"`` them.
        split: text file with a line for each image: ``train``, ``val``, ``test`` or ``unused``, then its SHA-256 or its
            path below the root. Empty: the protocol divides each class's images.
    """

    in_memory: ClassVar[bool] = False

    root: Annotated[str, InputFile()] = ""
    extensions: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
    min_images: Annotated[int, Ge(1)] = 1
    min_side: Annotated[int, Ge(1)] = 1
    exif: bool = True
    fit: Literal["crop", "squash"] = "crop"
    unusable: Literal["refuse", "skip"] = "refuse"
    split: Annotated[str, InputFile()] = ""

    @cached_property
    def survey(self) -> Survey:
        """What a look at every file showed.

        Raises:
            DataError: if there is no such folder.
        """
        return _survey(self)

    def num_identities(self) -> int:
        """Return how many classes there are; none without a folder."""
        return len(self.survey.pictures) if self._has_root() else 0

    def num_images(self, identity: int) -> int | None:
        """Return how many usable images a class has; ``None`` without a folder."""
        if not self._has_root():
            return None
        return len(list(self.survey.pictures.values())[identity])

    def class_names(self) -> list[str]:
        """Return the name of each class, in the order of their numbers."""
        return list(self.survey.pictures)

    def notes(self) -> Sequence[FileNote]:
        """Return what was noted of the files: unusable, ignored, converted, duplicate."""
        return self.survey.notes

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> PictureSet:
        """Return the images of these classes; each is decoded when it is asked for.

        Args:
            identities: class numbers; the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1 (grey) or 3 (RGB).

        Raises:
            DataError: if there is no such folder, or files cannot be used; each is named.
            UsageError: for a class that does not exist, or an impossible size or number of channels.
        """
        if lines := self.missing():
            raise DataError("dataset 'image-folder': " + "; ".join(lines))
        check_request("image-folder", identities, self.num_identities(), size=size, channels=channels)
        owners = self.class_names()
        own = [self.survey.pictures[owners[identity]] for identity in identities]
        labels = [k for k, pictures in enumerate(own) for _ in pictures]
        return PictureSet(
            pictures=tuple(picture for pictures in own for picture in pictures),
            labels_N=torch.tensor(labels, dtype=torch.long),
            num_classes=len(identities),
            decoding=Decoding(size, channels, self.fit, self.exif),
            fix="Run the same command again.",
        )

    def parts(self, identities: Sequence[int]) -> list[str] | None:
        """Return the part of each image that ``load`` delivers, where a split file says it.

        Raises:
            DataError: if the file cannot be read, or does not list just the images that there are.
        """
        if not self.split:
            return None
        survey, owners = self.survey, self.class_names()
        images = [
            (owner, name, picture.sha256)
            for owner, pictures in survey.pictures.items()
            for name, picture in zip(survey.names[owner], pictures, strict=True)
        ]
        listed = parts_of(read_split(Path(self.split)), [image[1:] for image in images], self.split)
        found = {
            owner: [part for part, image in zip(listed, images, strict=True) if image[0] == owner] for owner in owners
        }
        return [part for identity in identities for part in found[owners[identity]]]

    def missing(self) -> list[str]:
        """Return a line if there is no such folder, and one for each file that cannot be used."""
        if not self.root:
            return [_NO_ROOT]
        if not self._has_root():
            return [f"{self.root} is no folder; {_NO_ROOT}"]
        if not self.survey.pictures:
            wanted = f"root/<class>/<image> with at least {self.min_images} usable images of a class"
            return [f"{self.root} holds no class of images; expected {wanted}", *summary(self.survey.unusable)]
        if self.unusable == "skip" or not self.survey.unusable:
            return []
        many = f"{len(self.survey.unusable)} files in {self.root} cannot be used"
        return [
            f"{many}; remove or replace them, or set the parameter 'unusable' to 'skip'",
            *summary(self.survey.unusable),
        ]

    def _has_root(self) -> bool:
        return bool(self.root) and Path(self.root).is_dir()


def _survey(folder: ImageFolder) -> Survey:
    try:
        found = list(walk(Path(folder.root)))
    except OSError as error:
        raise DataError(f"dataset 'image-folder': {folder.root} cannot be read ({error.strerror or error})") from error
    aside = {file: reason for file in found if (reason := _why_ignored(file, folder.extensions))}
    chosen = [Candidate(plain_name(file.parts[0]), file) for file in found if file not in aside]
    survey = look_at(chosen, exif=folder.exif, min_side=folder.min_side)
    for file, reason in aside.items():
        survey.note(file.name, "ignored", reason)
    _tell_apart(survey, chosen)
    for owner, pictures in list(survey.pictures.items()):
        if len(pictures) < folder.min_images:
            wanted = f"at least {folder.min_images} are wanted (min_images)"
            survey.leave_out(owner, f"its class has {len(pictures)} usable images, and {wanted}")
    return survey.finish()


def _why_ignored(file: Found, extensions: tuple[str, ...]) -> str:
    """Say why a file is no candidate; empty if it is one."""
    if any(part.startswith(".") for part in file.parts):
        return "it is hidden (a name that begins with a dot)"
    if len(file.parts) == 1:
        return file.trouble or "it lies in no class's folder"
    if not file.trouble and file.path.suffix.lower() not in extensions:
        return f"its name does not end like an image ({', '.join(extensions)})"
    return ""


def _tell_apart(survey: Survey, candidates: Sequence[Candidate]) -> None:
    """Refuse classes whose names are no text, or are the same text written in two ways."""
    folders: dict[str, set[str]] = {}
    for candidate in candidates:
        folders.setdefault(candidate.owner, set()).add(candidate.found.parts[0])
    for owner, names in folders.items():
        if owner not in survey.pictures:
            continue
        if not is_text(owner):
            why = (
                "the name of its class is not UTF-8, so it came through a tool with another encoding; rename the folder"
            )
        elif len(names) > 1:
            why = "two folders have this name of a class, written with different Unicode; merge or rename them"
        else:
            continue
        for name in survey.names.pop(owner):
            survey.note(name, "unusable", why)
        del survey.pictures[owner]
