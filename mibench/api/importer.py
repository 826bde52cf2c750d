"""The importer contract: turn a file that somebody else published into files that a component of a plugin reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        folder: where it was written.
        found: one line about the content of the file.
        use: lines that say how to use it, commands included.
    """

    folder: Path
    found: str
    use: tuple[str, ...]


class Importer(ABC):
    """A component behind ``mibench data import-NAME FILE``; made without arguments."""

    def folder_name(self, source: Path) -> str:
        """Return the name of the folder that is written where the user names none; that of the file by default."""
        return source.stem

    @abstractmethod
    def run(self, source: Path, folder: Path) -> Imported:
        """Read ``source`` as data, executing nothing of it, and write into ``folder``, which is made if needed.

        Args:
            source: the foreign file.
            folder: where to write; files of an earlier import are replaced.

        Raises:
            DataError: if the file is missing or not what this importer reads; it says what was expected.
        """
