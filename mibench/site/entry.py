"""A row with its address: what every page needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mibench.exchange.cite import row_slug
from mibench.leaderboard.access import WORDS, Access, accesses
from mibench.leaderboard.board import ProtocolBoard, load_board
from mibench.leaderboard.evidence import BELIEVED, RECOMPUTED
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.row import Row
from mibench.protocol.load import LoadedProtocol
from mibench.results.display import printable
from mibench.site.library import Library, methods
from mibench.site.withdrawn import Gone, gone_rows


@dataclass(frozen=True)
class Entry:
    """A row of a board.

    Attributes:
        row: the row.
        slug: its name in addresses; it stays while the row's model, defense, version and parameters do.
        name: its name for people.
        note: the part of it that tells it from other rows of the defense; empty if there are none.
        family: how the defense means to protect, where its plugin is installed.
        access: the attacker that the defense is meant to hold against; empty if its records do not say.
    """

    row: Row
    slug: str
    name: str
    note: str
    family: str
    access: str

    @property
    def evidence(self) -> str:
        """How well it is attested: reported, regraded or reproduced."""
        return self.row.standing.level

    @property
    def values(self) -> str:
        """Whether all of its numbers follow from what its records hold."""
        return BELIEVED if self.row.reported else RECOMPUTED

    @property
    def complete(self) -> bool:
        """Whether it has met everything that gives a rank."""
        return not self.row.unranked


@dataclass(frozen=True)
class BoardPages:
    """A board with what its pages need.

    Attributes:
        folder: where its files lie.
        loaded: its protocol.
        section: its rows and their ranks.
        entries: the rows with their addresses, in the order of the board.
        access: what the attackers of this board see at most; ``None`` for all attackers.
        narrower: boards of the same records for attackers who see less.
        withdrawn: what was withdrawn from it, newest first.
    """

    folder: BoardFolder
    loaded: LoadedProtocol
    section: ProtocolBoard
    entries: tuple[Entry, ...]
    access: Access | None = None
    narrower: tuple[BoardPages, ...] = ()
    withdrawn: tuple[Gone, ...] = ()

    @property
    def newest(self) -> bool:
        """Whether no newer version of the protocol has a board."""
        return not self.section.newer

    @property
    def page(self) -> str:
        """The file of its table."""
        return f"{self.access}.html" if self.access else "index.html"

    @property
    def attackers(self) -> str:
        """Whom its ranks are about."""
        return WORDS[self.access] if self.access else "all attackers"

    @property
    def address(self) -> str:
        """Folder of its pages; never reused for another version."""
        return f"{self.folder.name}/{self.folder.version}"


def load_pages(root: Path, library: Library) -> list[BoardPages]:
    """Read all boards below a leaderboards folder.

    Raises:
        UsageError: if there is none.
        RecordError: for a damaged entry.
    """
    return [_pages(root, folder, library) for folder in choose(root, None)]


def _pages(root: Path, folder: BoardFolder, library: Library) -> BoardPages:
    loaded = folder.protocol()
    if loaded is None:  # choose() lists boards by this very file
        raise FileNotFoundError(folder.protocol_file)
    [section] = load_board(root, folder.id).sections
    entries = entries_of(section.rows, library, loaded.protocol.model.name)
    board = BoardPages(folder, loaded, section, tuple(entries))
    records = [record for entry in entries for record in entry.row.records]
    less = [_for_access(root, board, library, access) for access in accesses(records)]
    return replace(board, narrower=tuple(less), withdrawn=tuple(gone_rows(section.withdrawn, loaded)))


def _for_access(root: Path, board: BoardPages, library: Library, access: Access) -> BoardPages:
    """Return the board of the same records for attackers who see no more than an access."""
    [section] = load_board(root, board.folder.id, access=access).sections
    entries = entries_of(section.rows, library, board.loaded.protocol.model.name)
    return BoardPages(board.folder, board.loaded, section, tuple(entries), access)


def entries_of(rows: Sequence[Row], library: Library, usual: str) -> list[Entry]:
    """Give rows their names and addresses; ``usual`` is the model that goes without saying."""
    taken: dict[str, int] = {}
    made = []
    for row in rows:
        note = printable("; ".join(part for part in (row.note, row.model if row.model != usual else "") if part))
        slug = row_slug(row)
        taken[slug] = taken.get(slug, 0) + 1  # rows of a model with changed parameters, which no rule accepts
        known = methods(library, "defense", row.defense)
        part = row.records[0].components.get("defense") if row.records else None
        made.append(
            Entry(
                row=row,
                slug=slug if taken[slug] == 1 else f"{slug}-{taken[slug]}",
                name=printable(f"{row.defense} ({note})" if note else row.defense, 120),
                note=note,
                family=" + ".join(dict.fromkeys(method.family for method in known if method.family)),
                access=printable((part.access if part else None) or ""),
            )
        )
    return made
