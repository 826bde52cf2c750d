"""The dataset ``facescrub``: faces of 530 actors and actresses, in a copy that the user has.

Source: Ng and Winkler, "A data-driven approach to cleaning large face datasets", ICIP 2014. The list of pictures is
given out on request (vintage.winklerbros.net/facescrub.html); the pictures belong to their photographers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from mibench.api import Copy, DataError, Dataset, FileNote, ImageSet, InputFile, Told
from mibench_datasets.checks import check_request
from mibench_datasets.facescrub_list import Listed, read_lists
from mibench_datasets.facescrub_people import ACTORS, NAMES_SHA256, PEOPLE, class_of, names_digest
from mibench_datasets.pictures.copied import Reader, command, describe
from mibench_datasets.pictures.decode import Decoding
from mibench_datasets.pictures.journal import Journal
from mibench_datasets.pictures.published_split import published_split
from mibench_datasets.pictures.survey import Candidate, Survey, look_at
from mibench_datasets.pictures.tree import Found, walk

GET = (
    "a copy of FaceScrub: ask for the list at vintage.winklerbros.net/facescrub.html and fetch its pictures, or take"
    " one that others unpacked (folders actors/faces and actresses/faces, or actor_faces and actress_faces, with a"
    f" folder for each person); then run: {command('facescrub')}"
)
GROUPS = {"actors": re.compile(r"actors?(?![a-z])", re.I), "actresses": re.compile(r"actress(es)?(?![a-z])", re.I)}
_NAMED = re.compile(r"_(\d+)(?:_(\d+))?\.\w+$")
"""Number of the picture, and of the face in it, at the end of a file's name."""


@dataclass(frozen=True, kw_only=True)
class FaceScrub(Dataset):
    """Photographs of 530 people; how many there are depends on the copy, because links rot.

    Classes are numbered as in the papers' code: actors by name, then actresses. Three layouts of copies are read:
    ``actors/faces/<person>`` (with ``images`` for the whole pictures), ``actor_faces/<person>``, and folders whose
    names begin with ``FaceScrub_Actors``. The split is the papers' (seed 42) over the images of the copy.

    Attributes:
        copy: description of the copy, written by ``mibench data prepare facescrub --from FOLDER``.
        people: ``"all"`` wants all 530 people; with ``"present"``, classes are those that the copy has pictures of.
        fit: ``"squash"`` scales both sides to the same length, as the papers do; ``"crop"`` takes the middle square.
    """

    in_memory: ClassVar[bool] = False

    copy: Annotated[str, InputFile(copy_of="facescrub")] = ""
    people: Literal["all", "present"] = "all"
    fit: Literal["squash", "crop"] = "squash"

    @cached_property
    def _reader(self) -> Reader:
        return Reader("facescrub", self.copy)

    @property
    def _numbers(self) -> list[int]:
        """Class of the copy for each identity."""
        copied = self._reader.copy
        if self.people == "all" or copied is None:
            return list(range(PEOPLE))
        return [number for number, images in enumerate(copied.classes.values()) if images]

    @cached_property
    def _complete(self) -> bool:
        return not self.missing()

    def num_identities(self) -> int:
        """Return 530, or how many people the copy has pictures of."""
        return len(self._numbers)

    def num_images(self, identity: int) -> int | None:
        """Return how many pictures the copy has of a person; ``None`` while something is missing."""
        return len(self._reader.images(self._numbers[identity])) if self._complete else None

    def groups(self) -> dict[str, list[str]]:
        """Return the sex of each person, as far as FaceScrub says it: ``actor`` or ``actress``."""
        return {"sex": ["actor" if number < ACTORS else "actress" for number in self._numbers]}

    def notes(self) -> Sequence[FileNote]:
        """Return what was noticed of the copy's files."""
        return self._reader.notes()

    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        """Return the pictures of these people; each is decoded when it is asked for.

        Raises:
            DataError: if no copy was prepared, or it has no picture of one of them.
            UsageError: for a person who does not exist, or an impossible size or number of channels.
        """
        check_request("facescrub", identities, self.num_identities(), size=size, channels=channels)
        numbers = self._numbers
        chosen = [numbers[identity] for identity in identities]
        return self._reader.load(chosen, Decoding(size, channels, self.fit, exif=False))

    def parts(self, identities: Sequence[int]) -> list[str] | None:
        """Return what each picture of these people is for."""
        numbers = self._numbers
        return self._reader.parts([numbers[identity] for identity in identities])

    def missing(self) -> list[str]:
        """Return how to get a copy, or whom a copy lacks."""
        copied = self._reader.copy
        if copied is None:
            return [GET]
        absent = [name for name, images in copied.classes.items() if not images]
        if self.people == "present" or not absent:
            return []
        return [
            f"pictures of {len(absent)} of {PEOPLE} people, which the copy in {copied.root} lacks"
            f" ({', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''}); complete it, or set people to 'present',"
            f" and run: {command('facescrub')}"
        ]

    def prepare(self, source: Path, work: Path, *, split: Path | None = None, told: Told = lambda *_: None) -> Copy:
        """Look through a copy of FaceScrub.

        Raises:
            DataError: if the folder has no layout that is known.
        """
        root, layout, found = _find(source)
        listed = read_lists(root)
        chosen, survey = _candidates(found, root, listed, layout)
        looked = look_at(
            chosen, exif=False, told=lambda done: told(done, len(chosen)), journal=Journal(work / "seen.jsonl")
        )
        looked.notes += survey.notes
        names = _names(found, chosen)
        names_are = (
            "all 530 of the official list" if names_digest(names) == NAMES_SHA256 else "not all of the official list"
        )
        return describe(
            "facescrub",
            root,
            looked.finish(),
            classes=names,
            facts={
                "names": names_are,
                "pictures": "cut by the lists" if listed and layout == "images" else "as they are",
            },
            place={"layout": layout},
            divide=published_split,
            split=split,
        )


def _find(source: Path) -> tuple[Path, str, dict[str, Path]]:
    """Return the root (which may lie one folder deeper), the name of its layout, and the folder of each group."""
    inner = [path for path in sorted(source.iterdir()) if path.is_dir()]
    for root in (source, *inner):
        groups = {group: own for group, wanted in GROUPS.items() if (own := _group(root, wanted)) is not None}
        if groups:
            first = next(iter(groups.values()))
            for faces in ("faces", "face", "images"):
                if (first / faces).is_dir():
                    return root, faces, {group: folder / faces for group, folder in groups.items()}
            return root, "folders of faces", groups
    raise DataError(
        f"{source} is no copy of FaceScrub: expected folders actors and actresses, actor_faces and actress_faces, or"
        " FaceScrub_Actors... and FaceScrub_Actresses..., with a folder for each person"
    )


def _group(root: Path, wanted: re.Pattern[str]) -> Path | None:
    return next((path for path in sorted(root.iterdir()) if path.is_dir() and wanted.search(path.name)), None)


def _files(found: dict[str, Path], root: Path) -> Iterator[tuple[str, Found]]:
    for group, folder in found.items():
        for file in walk(folder):
            yield group, replace(file, parts=(*folder.relative_to(root).parts, *file.parts))


def _candidates(
    found: dict[str, Path], root: Path, listed: dict[tuple[int, int], Listed], layout: str
) -> tuple[list[Candidate], Survey]:
    """Return the files that are pictures of people, in the order of classes, and notes about all others."""
    survey, chosen = Survey(), list[tuple[int, Candidate]]()
    for _, file in _files(found, root):
        person = class_of(file.parts[-2]) if len(file.parts) > 2 else None
        if file.path.name.startswith(".") or file.path.name == "Thumbs.db":
            survey.note(file.name, "ignored", "it is a hidden file of a file manager")
        elif person is None:
            survey.note(file.name, "ignored", f"its folder {file.parts[-2]!r} is no person of FaceScrub")
        else:
            number, name = person
            official = _official(file, number, listed) if layout == "images" else None
            if layout == "images" and listed and official is None:
                survey.note(file.name, "ignored", "the lists have no line for it, so its face is not known")
                continue
            box, sha256 = (official.box, official.sha256) if official else (None, "")
            chosen.append((number, Candidate(name, file, box, sha256)))
    owners: dict[int, str] = {}
    for number, candidate in chosen:
        owners.setdefault(number, candidate.owner)
    chosen.sort(key=lambda pair: pair[0])
    for number, candidate in chosen:
        if candidate.owner != owners[number]:
            survey.note(candidate.found.name, "renamed", f"its folder is another spelling of {owners[number]}")
    return [replace(candidate, owner=owners[number]) for number, candidate in chosen], survey


def _official(file: Found, number: int, listed: dict[tuple[int, int], Listed]) -> Listed | None:
    named = _NAMED.search(file.path.name)
    return listed.get((number, int(named[1]))) if named else None


def _names(found: dict[str, Path], chosen: Sequence[Candidate]) -> list[str]:
    """Return the name of each class; of people who are not in the copy, their number."""
    names = {class_of(candidate.owner): candidate.owner for candidate in chosen}
    by_number = {person[0]: name for person, name in names.items() if person}
    return [by_number.get(number, f"person {number}") for number in range(PEOPLE)]
