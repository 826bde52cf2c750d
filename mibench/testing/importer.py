"""The contract of importers."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

from mibench.api.errors import DataError
from mibench.api.importer import Imported, Importer
from mibench.store.artifact import describe_folder
from mibench.testing.checks import require
from mibench.testing.component import Contract

GARBAGE = {
    "an empty file": b"",
    "a line of text": b"this is no file of yours\n",
    "the beginning of a pickle": b"\x80\x04\x95\x10\x00\x00\x00",
    "the beginning of a zip archive": b"PK\x03\x04" + bytes(30),
    "an executable pickle": b"cbuiltins\nexit\n(I3\ntR.",
}
"""What people give to importers by mistake or by malice; the last ends the program if it is executed."""


class ImporterContract(Contract):
    """Subclass, set ``component``, override ``example``, and run with pytest."""

    def make(self) -> Importer:
        """Build the importer, which takes no arguments."""
        made: Importer = self.component()
        return made

    def example(self, folder: Path) -> Path | None:
        """Write a file that can be imported into ``folder`` and return its path; ``None`` skips what needs one."""
        return None

    def test_refuses_garbage(self) -> None:
        """A file of another kind is a ``DataError`` in a sentence, nothing of it is run, and nothing is written."""
        for what, content in GARBAGE.items():
            with TemporaryDirectory() as root:
                source = Path(root) / "source.bin"
                source.write_bytes(content)
                self._refuses(what, source, Path(root) / "output")

    def test_refuses_what_is_not_there(self) -> None:
        """A missing file is a ``DataError`` that names it, and nothing is written."""
        with TemporaryDirectory() as root:
            source = Path(root) / "absent.bin"
            told = self._refuses("a missing file", source, Path(root) / "output")
            require(source.name in told, f"the error does not name {source.name}: {told}")

    def test_writes_what_it_says(self) -> None:
        """An import fills the folder that it names, says what it found and how to use it, the same bytes each time."""
        with TemporaryDirectory() as root:
            source = self.example(Path(root))
            if source is None:
                raise SkipTest("no example is given; override example(folder)")
            folder, before = Path(root) / "a" / "b", source.read_bytes()
            made = self.make().run(source, folder)
            require(isinstance(made, Imported), f"run returned {type(made).__name__}, expected Imported")
            require(made.folder == folder, f"it says that it wrote {made.folder}, it was given {folder}")
            require(bool(made.found.strip()) and "\n" not in made.found, "found is not one line")
            require(
                bool(made.use) and all(line.strip() for line in made.use), "it does not say how to use what it made"
            )
            first = describe_folder(folder)
            require(bool(first), "the folder that it names is empty")
            require(source.read_bytes() == before, "the source file has changed")
            self.make().run(source, folder)
            require(describe_folder(folder) == first, "a second import of the same file wrote other bytes")

    def _refuses(self, what: str, source: Path, folder: Path) -> str:
        try:
            self.make().run(source, folder)
        except DataError as error:
            told = str(error)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{what}: expected a DataError, got {type(error).__name__}: {error}") from None
        else:
            raise AssertionError(f"{what} was imported without an error")
        require(len(told.split()) > 2, f"{what}: the error says no more than {told!r}")
        require(
            not folder.exists() or not any(folder.iterdir()), f"{what}: it was refused, and yet {folder} was filled"
        )
        return told
