"""The dataset ``stanford-dogs``: 120 breeds of dogs, in a copy that the user has.

Source: Khosla et al., "Novel dataset for fine-grained image categorization", FGVC workshop at CVPR 2011
(http://vision.stanford.edu/aditya86/ImageNetDogs/). The pictures are ImageNet's: for research that is not commercial.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from mibench.api import Copy, DataError, Dataset, FileNote, ImageSet, InputFile, Told
from mibench_datasets.checks import check_request
from mibench_datasets.pictures.copied import Reader, command, describe
from mibench_datasets.pictures.decode import Box, Decoding
from mibench_datasets.pictures.journal import Journal
from mibench_datasets.pictures.published_split import published_split
from mibench_datasets.pictures.survey import Candidate, Survey, look_at
from mibench_datasets.pictures.tree import Found

BREEDS, TRAINING, TESTING = 120, 12_000, 8_580
IMAGES, LISTS = "Images", ("train_list.mat", "test_list.mat")
GET = (
    "a copy of Stanford Dogs (images.tar, annotation.tar and lists.tar of"
    " http://vision.stanford.edu/aditya86/ImageNetDogs/, unpacked into one folder); then run: "
    + command("stanford-dogs")
)
_NUMBERS = {name: re.compile(rf"<{name}>\s*(-?\d+)\s*</{name}>") for name in ("xmin", "ymin", "xmax", "ymax")}


@dataclass(frozen=True, kw_only=True)
class StanfordDogs(Dataset):
    """20 580 pictures of 120 breeds, each cut to the first dog that its annotation marks.

    Classes are the lists' (sorted by ImageNet's number of the breed). The split is the papers' (seed 42) over the
    training list followed by the test list, not the lists themselves.

    Attributes:
        copy: description of the copy, written by ``mibench data prepare stanford-dogs --from FOLDER``.
        breeds: ``"all"`` wants all 120 breeds and all pictures of the lists; with ``"present"``, classes are the breeds
            that the copy has pictures of.
        fit: ``"squash"`` scales both sides to the same length, as the papers do; ``"crop"`` takes the middle square.
    """

    in_memory: ClassVar[bool] = False

    copy: Annotated[str, InputFile(copy_of="stanford-dogs")] = ""
    breeds: Literal["all", "present"] = "all"
    fit: Literal["squash", "crop"] = "squash"

    @cached_property
    def _reader(self) -> Reader:
        return Reader("stanford-dogs", self.copy)

    @property
    def _numbers(self) -> list[int]:
        copied = self._reader.copy
        if copied is None:
            return list(range(BREEDS))
        return [k for k, images in enumerate(copied.classes.values()) if images or self.breeds == "all"]

    @cached_property
    def _complete(self) -> bool:
        return not self.missing()

    def num_identities(self) -> int:
        """Return 120, or how many breeds the copy has pictures of."""
        return len(self._numbers)

    def num_images(self, identity: int) -> int | None:
        """Return how many pictures the copy has of a breed; ``None`` while something is missing."""
        return len(self._reader.images(self._numbers[identity])) if self._complete else None

    def notes(self) -> Sequence[FileNote]:
        """Return what was noticed of the copy's files."""
        return self._reader.notes()

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        """Return the pictures of these breeds; each is decoded when it is asked for.

        Raises:
            DataError: if no copy was prepared.
            UsageError: for a breed that does not exist, or an impossible size or number of channels.
        """
        check_request("stanford-dogs", identities, self.num_identities(), size=size, channels=channels)
        numbers = self._numbers
        chosen = [numbers[identity] for identity in identities]
        return self._reader.load(chosen, Decoding(size, channels, self.fit, exif=False))

    def parts(self, identities: Sequence[int]) -> list[str] | None:
        """Return what each picture of these breeds is for."""
        numbers = self._numbers
        return self._reader.parts([numbers[identity] for identity in identities])

    def missing(self) -> list[str]:
        """Return how to get a copy, or what the one that was prepared lacks."""
        copied = self._reader.copy
        if copied is None:
            return [GET]
        if self.breeds == "all" and copied.count != TRAINING + TESTING:
            return [
                f"{TRAINING + TESTING - copied.count} of the {TRAINING + TESTING} pictures of Stanford Dogs, which the"
                f" copy in {copied.root} lacks; complete it and run: {command('stanford-dogs')}"
            ]
        return []

    def prepare(self, source: Path, work: Path, *, split: Path | None = None, told: Told = lambda *_: None) -> Copy:
        """Look through a copy of Stanford Dogs.

        Raises:
            DataError: if lists or folders are missing, or the lists contradict themselves.
        """
        root = _root(source)
        annotations = next((root / name for name in ("Annotation", "Annotations") if (root / name).is_dir()), None)
        if annotations is None:
            raise DataError(f"{root} has no folder Annotation; unpack annotation.tar beside {IMAGES}")
        rows = [row for name in LISTS for row in read_list(root / name)]
        breeds = _breeds(rows)
        survey, chosen, order = Survey(), list[Candidate](), dict[str, int]()
        for place, (name, _) in enumerate(rows):
            path, breed = root / IMAGES / f"{name}.jpg", name.partition("/")[0]
            box = read_box(annotations / name)
            if box is None:
                survey.note(
                    f"{IMAGES}/{name}.jpg", "unusable", f"{annotations.name}/{name} marks no dog, or is not there"
                )
            elif not path.exists():
                survey.note(f"{IMAGES}/{name}.jpg", "unusable", "the lists name it, and it is not there")
            else:
                chosen.append(Candidate(breed, Found(path, (IMAGES, *f"{name}.jpg".split("/"))), box))
                order[chosen[-1].found.name] = place
        looked = look_at(
            chosen, exif=False, told=lambda done: told(done, len(chosen)), journal=Journal(work / "seen.jsonl")
        )
        looked.notes += survey.notes
        complete = len(rows) == TRAINING + TESTING and len(breeds) == BREEDS
        facts = {"lists": "complete" if complete else f"{len(rows)} pictures of {len(breeds)} breeds"}
        return describe(
            "stanford-dogs",
            root,
            looked.finish(),
            classes=breeds,
            facts=facts,
            place={"boxes": annotations.name},
            divide=published_split,
            split=split,
            order=order,
        )


def read_list(path: Path) -> list[tuple[str, int]]:
    """Return name (``breed/picture``, without ending) and class (from 0) of each line of a list in MATLAB's format.

    Raises:
        DataError: if it is not there, or holds something else.
    """
    from scipy.io import loadmat  # takes a while, and only preparing needs it

    if not path.is_file():
        raise DataError(f"{path} is not there; unpack lists.tar into {path.parent}")
    try:
        held: dict[str, Any] = loadmat(path, variable_names=["annotation_list", "labels"])
        names = [str(cell[0][0]) for cell in held["annotation_list"]]
        labels = [int(cell[0]) - 1 for cell in held["labels"]]
    except Exception as error:  # scipy raises many kinds for files that are no lists
        raise DataError(f"{path} is not the list of Stanford Dogs ({type(error).__name__}: {error})") from error
    if len(names) != len(labels) or not all("/" in name for name in names):
        raise DataError(
            f"{path}: expected a breed/picture and a class for each line, got {len(names)} and {len(labels)}"
        )
    return list(zip(names, labels, strict=True))


def read_box(path: Path) -> Box | None:
    """Return the first dog that an annotation marks; ``None`` if there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = [match for pattern in _NUMBERS.values() if (match := pattern.search(text))]
    if len(found) < len(_NUMBERS):
        return None
    left, top, right, bottom = (int(match[1]) for match in found)
    return left, top, right, bottom


def _root(source: Path) -> Path:
    inner = [path for path in sorted(source.iterdir()) if path.is_dir()]
    for root in (source, *inner):
        if (root / IMAGES).is_dir():
            return root
    raise DataError(f"{source} has no folder {IMAGES}; unpack images.tar, annotation.tar and lists.tar into it")


def _breeds(rows: Sequence[tuple[str, int]]) -> list[str]:
    """Return the breeds in the order of their classes."""
    named: dict[int, set[str]] = {}
    for name, label in rows:
        named.setdefault(label, set()).add(name.partition("/")[0])
    breeds = [next(iter(named[label])) for label in sorted(named)]
    if any(len(own) > 1 for own in named.values()) or len(set(breeds)) < len(breeds):
        raise DataError("the lists give one class to two breeds, or two classes to one; fetch lists.tar again")
    return breeds
