"""The dataset ``two-folders``: private people in one folder, public ones in another, as an audit has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt, Lt

from mibench.api import DataError, Dataset, FileNote, ImageSet, InputFile
from mibench_datasets.checks import check_request
from mibench_datasets.image_folder import ImageFolder
from mibench_datasets.pictures.decode import Decoding
from mibench_datasets.pictures.picture_set import Picture, PictureSet

_START = "start with: mibench audit --private FOLDER --public FOLDER"


@dataclass(frozen=True, kw_only=True)
class TwoFolders(Dataset):
    """The people of ``private`` come first, in the order of their folders' names, then those of ``public``.

    Each folder is read as ``image-folder`` reads it: ``root/<person>/<photograph>``.

    Attributes:
        private: folder of the people that the target knows.
        heldout: folder of other photographs of the same people, on which it was not trained; ``none`` to set some of
            ``private`` aside: of each person those whose SHA-256 is smallest.
        heldout_share: how many, as a share of each person's photographs, rounded, and at least one.
        public: folder of other people.
        fit: as in ``image-folder``.
        unusable: as in ``image-folder``.
    """

    in_memory: ClassVar[bool] = False

    private: Annotated[str, InputFile("none")] = "none"
    heldout: Annotated[str, InputFile("none")] = "none"
    heldout_share: Annotated[float, Gt(0), Lt(1)] = 0.3
    public: Annotated[str, InputFile("none")] = "none"
    fit: Literal["crop", "squash"] = "crop"
    unusable: Literal["refuse", "skip"] = "refuse"

    @cached_property
    def folders(self) -> Mapping[str, ImageFolder]:
        """The folders that there are, by the name of their parameter."""
        roots = {name: getattr(self, name) for name in ("private", "heldout", "public")}
        made = ImageFolder(fit=self.fit, unusable=self.unusable)
        return {name: replace(made, root=root) for name, root in roots.items() if root != "none"}

    def num_identities(self) -> int:
        """Return how many private and public people there are together."""
        return len(self.class_names())

    def class_names(self) -> list[str]:
        """Return the names of the folders, those of private people first."""
        return [name for whose in ("private", "public") for name in self._names(whose)]

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return as ``folder`` whether each of them is ``private`` or ``public``."""
        return {"folder": [whose for whose in ("private", "public") for _ in self._names(whose)]}

    def num_images(self, identity: int) -> int:
        """Return how many photographs a person has, held-out ones included."""
        return len(self._photographs(identity))

    def notes(self) -> Sequence[FileNote]:
        """Return what was noted of the files of all folders."""
        found = [(name, note) for name, folder in self.folders.items() for note in folder.notes()]
        return [replace(note, name=f"{name}: {note.name}") for name, note in found]

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        """Return the photographs of these people, those to learn from before held-out ones.

        Args:
            identities: numbers of people; the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1 (grey) or 3 (RGB).

        Raises:
            DataError: if a folder is missing, or files cannot be used; each is named.
            UsageError: for somebody who does not exist, or an impossible size or number of channels.
        """
        if lines := self.missing():
            raise DataError("dataset 'two-folders': " + "; ".join(lines))
        check_request("two-folders", identities, self.num_identities(), size=size, channels=channels)
        own = [self._photographs(identity) for identity in identities]
        return PictureSet(
            pictures=tuple(picture for photographs in own for picture, _ in photographs),
            labels_N=torch.tensor([k for k, photographs in enumerate(own) for _ in photographs], dtype=torch.long),
            num_classes=len(identities),
            decoding=Decoding(size, channels, self.fit),
            source="two-folders",
            fix="Run the same command again.",
        )

    def parts(self, identities: Sequence[int]) -> list[str]:
        """Return ``train`` or ``test`` for each photograph that ``load`` delivers."""
        return [part for identity in identities for _, part in self._photographs(identity)]

    def missing(self) -> list[str]:
        """Return a line for each folder that is not there, each file that cannot be used, and each unknown person."""
        lines = [f"a folder of {name} people; {_START}" for name in ("private", "public") if name not in self.folders]
        lines += [line for folder in self.folders.values() for line in folder.missing()]
        if lines:
            return lines
        strangers = set(self._names("heldout")) - set(self._names("private"))
        without = set(self._names("private")) - set(self._names("heldout")) if "heldout" in self.folders else set()
        told = [(strangers, f"{self.heldout} has folders of people who are not in {self.private}")]
        told += [(without, f"{self.heldout} has no folder for some people of {self.private}")]
        return [f"{words}: {', '.join(sorted(names)[:5])}" for names, words in told if names]

    def _names(self, whose: str) -> list[str]:
        return self.folders[whose].class_names() if whose in self.folders else []

    def _photographs(self, identity: int) -> list[tuple[Picture, str]]:
        """Return the photographs of a person, each with what it is for."""
        private, name = len(self._names("private")), self.class_names()[identity]
        if identity >= private:
            return [(picture, "train") for picture in self.folders["public"].survey.pictures[name]]
        own = self.folders["private"].survey.pictures[name]
        if "heldout" in self.folders:
            others = self.folders["heldout"].survey.pictures.get(name, [])
            return [*((picture, "train") for picture in own), *((picture, "test") for picture in others)]
        number = max(1, round(len(own) * self.heldout_share)) if len(own) > 1 else 0
        aside = sorted(own, key=lambda picture: (picture.sha256, str(picture.path.name)))[:number]
        parts = [(picture, "test" if picture in aside else "train") for picture in own]
        return sorted(parts, key=lambda pair: pair[1] == "test")
