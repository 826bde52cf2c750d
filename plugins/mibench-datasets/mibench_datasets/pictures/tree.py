"""All files below a folder, through symbolic links, in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A file, or what stood in the way of one.

    Attributes:
        path: where it is.
        parts: the folders below the root that lead to it, and its own name.
        trouble: why it, or the folder of this name, cannot be read; empty if nothing is known against it.
    """

    path: Path
    parts: tuple[str, ...]
    trouble: str = ""

    @property
    def name(self) -> str:
        """Path below the root, with slashes; bytes that are no UTF-8 are shown escaped."""
        return printable("/".join(self.parts))


def walk(root: Path) -> Iterator[Found]:
    """Yield every file below a folder, sorted by name folder by folder; links are followed, loops are told.

    Raises:
        OSError: if the folder itself cannot be read.
    """
    yield from _walk(root, (), (_identity(root),))


def printable(name: str) -> str:
    """Return a name that can be printed and written, whatever bytes the file system holds."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_text(name: str) -> bool:
    """Tell whether the file system's bytes of a name are UTF-8."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


def _walk(folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Found]:
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        path, below = Path(entry.path), (*parts, entry.name)
        try:
            if entry.is_dir():
                own = _identity(path)
                if own in above:
                    yield Found(path, below, "it is a link to a folder that it lies in")
                else:
                    yield from _walk(path, below, (*above, own))
            elif entry.is_file():
                yield Found(path, below)
            else:
                broken = "it is a link that leads nowhere" if entry.is_symlink() else "it is no ordinary file"
                yield Found(path, below, broken)
        except OSError as error:
            yield Found(path, below, f"it cannot be read: {error.strerror or error}")


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
