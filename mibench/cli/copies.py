"""``mibench data prepare`` and ``check``: copies of datasets that a user has, and images that a user brings."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibench.api.copies import Copy, FileNote, copy_file, read_copy
from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, DataError
from mibench.api.files import sha256_of_file
from mibench.cli.progress import ProgressDisplay
from mibench.cli.terminal import echo, short_path
from mibench.results.display import printable

if TYPE_CHECKING:
    from mibench.api.data import Dataset, Told

SHOWN = 20
"""Notes of one kind that are shown, unless all are asked for."""


def prepare_copy(name: str, dataset: Dataset, source: Path, split: Path | None) -> Copy:
    """Look through a user's copy, and write its description where ``load`` reads it.

    Raises:
        UsageError: if the dataset has no copies.
        DataError: if the folder does not hold it.
    """
    place = copy_file(name)
    work = place.parent / "work"
    with _shown("prepare", name) as told:
        copy = dataset.prepare(source.absolute(), work, split=split, told=told)
    copy.write(place.parent)
    return copy


def describe(copy: Copy, *, everything: bool = False) -> Iterator[str]:
    """Yield lines about a copy: what it holds, what was noticed, and its digest."""
    parts = ", ".join(f"{count} {part}" for part, count in copy.parts().items())
    sizes = [len(images) for images in copy.classes.values()] or [0]
    yield f"found    {copy.count} images of {len(copy.classes)} classes, {min(sizes)} to {max(sizes)} of each" + (
        f" ({parts})" if parts else ""
    )
    for fact, words in {**copy.facts, **copy.place}.items():
        yield f"{fact:<8} {printable(words)}"
    yield from note_lines(copy.notes, everything=everything)
    yield f"copy     sha256:{copy.digest}"


def note_lines(notes: Sequence[FileNote], *, everything: bool = False) -> Iterator[str]:
    """Yield a line per file that something is to be said about, and one that counts those that are not shown."""
    counts = Counter(note.kind for note in notes)
    for kind in sorted(counts):
        own = [note for note in notes if note.kind == kind]
        for note in own if everything else own[:SHOWN]:
            yield f"{kind:<12} {printable(note.name)}: {printable(note.reason)}"
        if not everything and len(own) > SHOWN:
            yield f"{kind:<12} and {len(own) - SHOWN} more (--all shows them)"
    if counts:
        yield "noted    " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def check_copy(name: str, *, everything: bool = False) -> tuple[list[str], int]:
    """Compare the files of a prepared copy with its description, byte by byte.

    Returns:
        Lines to show, and the exit code.

    Raises:
        DataError: if its description cannot be read.
    """
    copy = read_copy(copy_file(name))
    files = [(owner, image) for owner, images in copy.classes.items() for image in images]
    wrong: list[FileNote] = []
    with _shown("check", name) as told:
        for done, (_, image) in enumerate(files, 1):
            if reason := _damage(copy.root / image.name, image.sha256):
                wrong.append(FileNote(image.name, "changed", reason))
            told(done, len(files))
    lines = list(describe(copy, everything=everything))
    lines += note_lines(wrong, everything=everything)
    if wrong:
        return [*lines, f"{name}: {len(wrong)} files are not what they were when it was prepared"], EXIT_FAILED_CELLS
    return [*lines, f"{name}: all {len(files)} files in {short_path(copy.root)} are as they were"], EXIT_OK


def has_copy(name: str) -> bool:
    """Tell whether a copy of a dataset was prepared."""
    return copy_file(name).is_file()


def copy_document(copy: Copy) -> dict[str, Any]:
    """Return what there is to say about a copy as plain JSON."""
    return {
        "dataset": copy.dataset,
        "copy": f"sha256:{copy.digest}",
        "root": str(copy.root),
        "facts": {**copy.facts, **copy.place},
        "images": copy.count,
        "parts": copy.parts(),
        "classes": {
            owner: {"images": len(images), "sha256": copy.class_digest(owner)} for owner, images in copy.classes.items()
        },
        "notes": [vars(note) for note in copy.notes],
    }


def require_folder(source: Path) -> Path:
    """Return a folder that is there.

    Raises:
        DataError: if it is not.
    """
    if not source.is_dir():
        raise DataError(f"--from {source}: expected a folder with the dataset, unpacked")
    return source


def _damage(path: Path, sha256: str) -> str:
    try:
        return "" if sha256_of_file(path) == sha256 else "it holds other bytes now"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"


@contextlib.contextmanager
def _shown(stage: str, name: str) -> Iterator[Told]:
    """Draw a progress bar, as for a stage of a run."""
    node = {"id": name, "stage": stage, "key": "", "label": name}
    began = time.monotonic()
    with ProgressDisplay() as display:
        display.mibench_stage_started(node)
        yield lambda done, total: display.mibench_stage_progress(node, done, total, "files", {})
        display.mibench_stage_finished(node, time.monotonic() - began)


def show(lines: Sequence[str] | Iterator[str]) -> None:
    """Print lines."""
    for line in lines:
        echo(line)
