"""Every file of a collection, looked at once: what is a picture of whom, and what is said about the others."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mibench.api import FileNote
from mibench_datasets.pictures.decode import Box
from mibench_datasets.pictures.examine import Verdict, examine
from mibench_datasets.pictures.journal import Journal
from mibench_datasets.pictures.picture_set import Picture, in_threads
from mibench_datasets.pictures.tree import Found

CHUNK = 256
SHOWN = 20
"""How many faults a sentence names before it counts the rest."""

Told = Callable[[int], None]
"""``told(files looked at so far)``."""


@dataclass(frozen=True)
class Candidate:
    """A file that should be a picture of a class.

    Attributes:
        owner: name of the class.
        found: the file.
        box: the part of it that counts; ``None`` for all of it.
        sha256: what its bytes should have; empty if that is not known.
    """

    owner: str
    found: Found
    box: Box | None = None
    sha256: str = ""


@dataclass
class Survey:
    """What a look at all files showed.

    Attributes:
        pictures: the usable files of each class, by name.
        names: name below the root of each usable file, in the same order.
        notes: what is said about files, usable or not.
    """

    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    notes: list[FileNote] = field(default_factory=list)

    def note(self, name: str, kind: str, reason: str) -> None:
        """Say something about a file."""
        self.notes.append(FileNote(name, kind, reason))

    @property
    def unusable(self) -> list[FileNote]:
        """What cannot be used."""
        return [note for note in self.notes if note.kind == "unusable"]

    def leave_out(self, owner: str, reason: str) -> None:
        """Ignore a class, naming each of its files."""
        for name in self.names.pop(owner):
            self.note(name, "ignored", reason)
        del self.pictures[owner]

    def finish(self) -> Survey:
        """Sort classes by name, and note files that hold the same bytes as another."""
        self.pictures = {owner: self.pictures[owner] for owner in sorted(self.pictures)}
        self.names = {owner: self.names[owner] for owner in self.pictures}
        first: dict[tuple[str, Box | None], tuple[str, str]] = {}
        for owner, pictures in self.pictures.items():
            for picture, name in zip(pictures, self.names[owner], strict=True):
                other, before = first.setdefault((picture.sha256, picture.box), (owner, name))
                if before != name:
                    whose = "" if other == owner else f" of another class ({other})"
                    self.note(name, "duplicate", f"it has the same bytes as {before}{whose}")
        return self


def look_at(
    candidates: Iterable[Candidate],
    *,
    exif: bool,
    min_side: int = 1,
    told: Told = lambda _: None,
    journal: Journal | None = None,
) -> Survey:
    """Read, digest and decode each file.

    Args:
        candidates: the files, in the order in which they are to be kept.
        exif: whether a camera's orientation will be applied.
        min_side: the fewest pixels that either side of a usable picture (or of its box) has.
        told: is told how many files were looked at.
        journal: of what was seen before, and is not looked at again.
    """
    survey, waiting, done = Survey(), iter(candidates), 0
    while chunk := list(islice(waiting, CHUNK)):
        for candidate, looked in zip(chunk, _seen(chunk, exif, journal), strict=True):
            picture, notes = _judge(candidate, looked, min_side)
            survey.notes += notes
            if picture is not None:
                survey.pictures.setdefault(candidate.owner, []).append(picture)
                survey.names.setdefault(candidate.owner, []).append(candidate.found.name)
        done += len(chunk)
        told(done)
    return survey


def _seen(chunk: Sequence[Candidate], exif: bool, journal: Journal | None) -> list[tuple[str, Verdict]]:
    """Return digest and verdict of each file."""
    paths = [candidate.found.path for candidate in chunk if not candidate.found.trouble]
    known = {path: old for path in paths if journal and (old := journal.recall(path, exif))}
    fresh = [path for path in paths if path not in known]
    looked = dict(zip(fresh, in_threads(lambda path: _look(path, exif), fresh), strict=True))
    if journal:
        journal.keep({path: found for path, found in looked.items() if found[0]}, exif)
    known |= looked
    return [known.get(candidate.found.path, ("", Verdict(candidate.found.trouble))) for candidate in chunk]


def _look(path: Path, exif: bool) -> tuple[str, Verdict]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return "", Verdict(f"it cannot be read: {error.strerror or error}")
    return hashlib.sha256(content).hexdigest(), examine(content, path.suffix, exif=exif)


def _judge(candidate: Candidate, looked: tuple[str, Verdict], min_side: int) -> tuple[Picture | None, list[FileNote]]:
    name, (found, verdict) = candidate.found.name, looked
    fault = verdict.fault or _small(verdict.size, candidate.box, min_side)
    if fault:
        return None, [FileNote(name, "unusable", fault)]
    notes = [FileNote(name, "converted", reason) for reason in verdict.conversions]
    if candidate.sha256 and found != candidate.sha256:
        notes.append(FileNote(name, "other bytes", "its SHA-256 is not the one that the list of its source states"))
    return Picture(candidate.found.path, found, candidate.box), notes


def _small(size: tuple[int, int], box: Box | None, min_side: int) -> str:
    width, height = size
    if box is not None:
        width, height = min(box[2], width) - max(box[0], 0), min(box[3], height) - max(box[1], 0)
        if width < 1 or height < 1:
            return f"the box {box} lies outside of the picture, which has {size[0]} x {size[1]} pixels"
    if min(width, height) < min_side:
        return f"it has {width} x {height} pixels; at least {min_side} on either side are wanted"
    return ""


def plain_name(name: str) -> str:
    """Return a class name in the one form (NFC) in which equal letters are equal bytes."""
    return unicodedata.normalize("NFC", name)


def summary(notes: Sequence[FileNote]) -> list[str]:
    """Return a line for each of the first faults, and one that counts the others."""
    lines = [f"{note.name}: {note.reason}" for note in notes[:SHOWN]]
    if len(notes) > SHOWN:
        lines.append(f"and {len(notes) - SHOWN} more")
    return lines
