"""The dataset ``celeba``: the 1 000 people with the most pictures in CelebA, in a copy that the user has.

Source: Liu et al., "Deep learning face attributes in the wild", ICCV 2015. For research that is not commercial; the
pictures, and what is derived of them, may not be given to others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from mibench.api import Copy, DataError, Dataset, FileNote, ImageSet, InputFile, Told
from mibench_datasets.checks import check_request
from mibench_datasets.pictures.copied import Reader, command, describe
from mibench_datasets.pictures.decode import Decoding
from mibench_datasets.pictures.journal import Journal
from mibench_datasets.pictures.published_split import published_split
from mibench_datasets.pictures.survey import Candidate, Survey, look_at
from mibench_datasets.pictures.tree import Found

PEOPLE, PICTURES = 10_177, 202_599
IDENTITIES, FIRST = "identity_CelebA.txt", "000001"
MD5 = {
    IDENTITIES: "32bd1bd63d3c78cd57e08160ec5ed1e2",
    "list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
    "list_bbox_celeba.txt": "00566efa6fedff7a56946cd1c10f1c16",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
    "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
    "list_landmarks_celeba.txt": "063ee6ddb681f96bc9ca28c6febb9d1a",
    "img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
}
"""Digests of the official files, as torchvision states them; files that are there must have them."""
ALIGNED = (178, 218)
"""Width and height of the pictures of ``img_align_celeba``."""
GET = (
    "a copy of CelebA in torchvision's layout (celeba/identity_CelebA.txt and a folder of pictures, img_align_celeba or"
    " an HD crop; see https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and docs/paper-scale.md); then run: "
    + command("celeba")
)


@dataclass(frozen=True, kw_only=True)
class CelebA(Dataset):
    """The people with the most pictures: by default the 1 000 of the papers, with about 30 pictures each.

    People are ranked by the number of their pictures in ``identity_CelebA.txt``; of equal ones, whose first picture
    comes first; class k is the k-th. The split is the papers' (seed 42) over the pictures in the order of the file.

    Attributes:
        copy: description of the copy, written by ``mibench data prepare celeba --from FOLDER``.
        crop: which pictures are wanted: ``"hd"`` (larger crops, as the papers at 224 pixels make them) or ``"aligned"``
            (178 x 218 pixels, of which the middle square is taken).
        people: how many people are classes.
        official: whether list files must have the official MD5; false for excerpts.
    """

    in_memory: ClassVar[bool] = False

    copy: Annotated[str, InputFile(copy_of="celeba")] = ""
    crop: Literal["hd", "aligned"] = "hd"
    people: Annotated[int, Ge(1), Le(PEOPLE)] = 1000
    official: bool = True

    @cached_property
    def _reader(self) -> Reader:
        return Reader("celeba", self.copy)

    @cached_property
    def _complete(self) -> bool:
        return not self.missing()

    def num_identities(self) -> int:
        """Return ``people``."""
        return self.people

    def num_images(self, identity: int) -> int | None:
        """Return how many pictures the copy has of a person; ``None`` while something is missing."""
        return len(self._reader.images(identity)) if self._complete else None

    def notes(self) -> Sequence[FileNote]:
        """Return what was noticed of the copy's files."""
        return self._reader.notes()

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        """Return the pictures of these people; each is decoded when it is asked for.

        Raises:
            DataError: if no copy was prepared, or it is of another crop.
            UsageError: for a person who does not exist, or an impossible size or number of channels.
        """
        check_request("celeba", identities, self.people, size=size, channels=channels)
        if lines := self.missing():
            raise DataError("dataset 'celeba': " + "; ".join(lines))
        return self._reader.load(identities, Decoding(size, channels, "crop", exif=False))

    def parts(self, identities: Sequence[int]) -> list[str] | None:
        """Return what each picture of these people is for."""
        return self._reader.parts(identities)

    def missing(self) -> list[str]:
        """Return how to get a copy, or what is wrong with the one that was prepared."""
        copied = self._reader.copy
        if copied is None:
            return [GET]
        if copied.facts.get("crop") != self.crop:
            return [f"{self.crop} pictures of CelebA; the copy in {copied.root} holds {copied.facts.get('crop')} ones"]
        if len(copied.classes) < self.people:
            return [f"{self.people} people of CelebA; the copy was prepared for {len(copied.classes)}"]
        absent = [name for name, images in list(copied.classes.items())[: self.people] if not images]
        return [f"pictures of {len(absent)} people of CelebA ({', '.join(absent[:3])} ...)"] if absent else []

    def prepare(self, source: Path, work: Path, *, split: Path | None = None, told: Told = lambda *_: None) -> Copy:
        """Look through a copy of CelebA.

        Raises:
            DataError: if list files or pictures are missing, or a list file is not the official one.
        """
        root = _root(source)
        checked = list(_check_lists(root)) if self.official else []
        rows = read_identities(root / IDENTITIES)
        ranked = most_frequent(rows, self.people)
        folder, crop = _pictures(root, self.crop)
        survey, chosen, order = Survey(), list[Candidate](), dict[str, int]()
        for place, (name, person) in enumerate(row for row in rows if row[1] in ranked):
            path = _file(folder, name)
            if path is None:
                survey.note(name, "unusable", f"{IDENTITIES} lists it, and it is not in {folder.name}")
                continue
            chosen.append(Candidate(_label(person), Found(path, (folder.name, path.name))))
            order[chosen[-1].found.name] = place
        looked = look_at(
            chosen, exif=False, told=lambda done: told(done, len(chosen)), journal=Journal(work / "seen.jsonl")
        )
        looked.notes += survey.notes
        classes = [_label(person) for person in ranked]
        digest = hashlib.sha256("\n".join(map(str, ranked)).encode()).hexdigest()
        facts = {"crop": crop, "people": f"the {len(ranked)} with the most pictures, sha256 {digest}"}
        here = {"lists": f"official: {', '.join(checked)}" if checked else "not compared"}
        return describe(
            "celeba",
            root,
            looked.finish(),
            classes=classes,
            facts=facts,
            place=here,
            divide=published_split,
            split=split,
            order=order,
        )


def read_identities(path: Path) -> list[tuple[str, int]]:
    """Return picture and person of each line of ``identity_CelebA.txt``, in its order.

    Raises:
        DataError: for a line that cannot be read.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].isdecimal():
            raise DataError(f"{path}, line {number}: expected a picture and the number of a person, got {line[:60]!r}")
        rows.append((words[0], int(words[1])))
    return rows


def most_frequent(rows: Sequence[tuple[str, int]], people: int) -> list[int]:
    """Return the people with the most pictures, most first; of equal ones, whose first picture comes first.

    Raises:
        DataError: if there are fewer people.
    """
    counts = Counter(person for _, person in rows)
    if len(counts) < people:
        raise DataError(f"{IDENTITIES} names {len(counts)} people; expected {people} or more")
    return sorted(counts, key=lambda person: -counts[person])[:people]  # sorted keeps the order of equal ones


def _root(source: Path) -> Path:
    for root in (source, source / "celeba"):
        if (root / IDENTITIES).is_file():
            return root
    raise DataError(
        f"{source} has no {IDENTITIES}, without which nobody knows who is in a picture; it is on CelebA's page under"
        " 'identity annotations'"
    )


def _check_lists(root: Path) -> Iterator[str]:
    for name, expected in MD5.items():
        path = root / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != expected:
            raise DataError(
                f"{path} is not the official file (MD5 {found}, expected {expected}): it is cut off, a quota page saved"
                " under its name, or an excerpt; fetch it again (for an excerpt: --set official=false)"
            )
        yield name


def _pictures(root: Path, wanted: str) -> tuple[Path, str]:
    """Return a folder of pictures, and ``"aligned"`` or ``"hd"``; of several, one of the wanted crop."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    folders += [inner for path in folders for inner in sorted(path.iterdir()) if inner.is_dir()]
    found = {crop: folder for folder in reversed(folders) if (crop := _crop(folder))}
    if not found:
        raise DataError(f"{root} has no folder of pictures that are called like {FIRST}.jpg or {FIRST}.png")
    crop = wanted if wanted in found else next(iter(found))
    return found[crop], crop


def _crop(folder: Path) -> str:
    """Return the crop of a folder's first picture; empty if it holds none of CelebA."""
    from PIL import Image

    first = next((path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")), None)
    if first is None or not first.stem.isdecimal():
        return ""
    try:
        with Image.open(first) as image:
            return "aligned" if image.size == ALIGNED else "hd"
    except OSError:
        return ""


def _file(folder: Path, name: str) -> Path | None:
    """Return a picture; croppers write PNG under the name that the lists give a JPEG."""
    stem = name.rpartition(".")[0]
    return next((path for path in (folder / name, folder / f"{stem}.png") if path.exists()), None)


def _label(person: int) -> str:
    return f"identity {person}"
