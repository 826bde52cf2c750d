"""Where things lie: ``<protocol>/<major.minor>/{protocol.yaml, entries/<defense>/<record>.json, board.csv}``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mibench.api.errors import UsageError, unknown
from mibench.protocol.files import read_text
from mibench.protocol.load import LoadedProtocol, parse_protocol
from mibench.protocol.names import NAME, VERSION
from mibench.results.io import RecordError, file_name, load_record
from mibench.results.record import Record


@dataclass(frozen=True)
class BoardFolder:
    """The folder of one protocol version.

    Attributes:
        root: the leaderboards folder.
        name: protocol name.
        version: ``major.minor``.
    """

    root: Path
    name: str
    version: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not VERSION.fullmatch(self.version):
            raise UsageError(f"{self.name!r}@{self.version!r} is not a protocol; expected a name like 'orl64@1.0'")

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.root / self.name / self.version

    @property
    def protocol_file(self) -> Path:
        """The frozen copy of the protocol."""
        return self.path / "protocol.yaml"

    @property
    def table_file(self) -> Path:
        """The board as CSV, made from the entries."""
        return self.path / "board.csv"

    @property
    def age(self) -> tuple[int, ...]:
        """The version as numbers, for sorting."""
        return tuple(map(int, self.version.split(".")))

    def entry_folder(self, defense: str) -> Path:
        """Return the folder of a defense's records; the name has been checked."""
        return self.path / "entries" / defense

    def protocol(self) -> LoadedProtocol | None:
        """Read the frozen protocol; ``None`` if nothing was accepted yet.

        Raises:
            UsageError: if the file cannot be read, is not UTF-8, or not a valid protocol.
        """
        self.require_own(self.protocol_file)
        if not self.protocol_file.is_file():
            return None
        text = read_text(self.protocol_file, "the frozen protocol")
        return parse_protocol(text, source=str(self.protocol_file))

    def files(self) -> list[Path]:
        """Return the files of accepted records, in the order of their paths.

        Files of other programs are passed over: names that begin with a dot (``.DS_Store``, ``._x.json``, ``.nfs0``) or
        do not end with ``.json`` (``Thumbs.db``, ``x.json~``).
        """
        found = sorted((self.path / "entries").glob("*/*.json"))
        return [path for path in found if not any(part.startswith(".") for part in path.parts[-2:])]

    def read(self, path: Path) -> Record:
        """Read an accepted record.

        Raises:
            RecordError: for a damaged entry, and for one under another name than its own, as a copy would have.
            UsageError: for a link.
        """
        self.require_own(path)
        record = load_record(path)
        home = self.entry_folder(record.cell.defense) / file_name(record)
        if path != home:
            raise RecordError(f"{path} holds the record that belongs into {home}; move it there, or remove the copy")
        return record

    def records(self) -> Iterator[tuple[Path, Record]]:
        """Yield the accepted records with their files, in the order of their paths.

        Raises:
            RecordError: for a damaged entry, or a misplaced one.
            UsageError: for a link.
        """
        for path in self.files():
            yield path, self.read(path)

    def require_own(self, path: Path) -> None:
        """Refuse what lies elsewhere: no link leads out of a board.

        Raises:
            UsageError: if the path or a folder above it, up to the leaderboards folder, is a link.
        """
        for part in (path, *path.parents):
            if part == self.root:
                return
            if part.is_symlink():
                raise UsageError(
                    f"{part} is a link; a board's folders and files are its own. Replace it by what it leads to"
                )


def boards(root: Path) -> list[BoardFolder]:
    """Return the boards below a folder, by name and version."""
    found = []
    for file in root.glob("*/*/protocol.yaml"):
        name, version = file.parts[-3:-1]
        if NAME.fullmatch(name) and VERSION.fullmatch(version) and file.is_file():
            found.append(BoardFolder(root, name, version))
    return sorted(found, key=lambda board: (board.name, board.age))


def choose(root: Path, protocol: str | None) -> list[BoardFolder]:
    """Return the boards that a request means: all, ``name@version``, or the newest version of ``name``.

    Raises:
        UsageError: if there is no such board, with a suggestion.
    """
    found = boards(root)
    if not found:
        raise UsageError(f"{root} holds no leaderboard. Add a record with: mibench leaderboard add <record.json>")
    if protocol is None:
        return found
    exact = [board for board in found if protocol in (board.id, board.name)]
    if not exact:
        raise unknown("leaderboard protocol", protocol, {board.id for board in found})
    return exact[-1:]
