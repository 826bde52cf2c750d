"""What versions of a protocol have to do with each other, for the banners of their boards and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mibench.protocol.follows import Follows
from mibench.results.record import Record
from mibench.site.entry import BoardPages, Entry


@dataclass(frozen=True)
class Link:
    """A row of another version.

    Attributes:
        board: ``name@version``.
        address: of its page, from the root of the site.
        change: how the one became the other: ``"cosmetic"`` or ``"regradable"``.
    """

    board: str
    address: str
    change: str


@dataclass(frozen=True)
class Versions:
    """Where a board stands among the versions of its protocol.

    Attributes:
        newest: the board of the newest version; ``None`` if it is this one.
        follows: what the newer version that follows this one declares, and its board; ``None`` if there is none.
        carried: how many rows of this board are on a newer one.
        came_from: for each row that was carried here, by its name in addresses, where it came from.
        went_to: for each row that is on a newer board, where.
    """

    newest: BoardPages | None = None
    follows: tuple[Follows, BoardPages] | None = None
    came_from: dict[str, Link] = field(default_factory=dict)
    went_to: dict[str, Link] = field(default_factory=dict)

    @property
    def carried(self) -> int:
        """How many rows of this board are on a newer one."""
        return len(self.went_to)


def versions_of(board: BoardPages, boards: Sequence[BoardPages]) -> Versions:
    """Return where a board stands among the others, of which only versions of its protocol count."""
    family = [other for other in boards if other.folder.name == board.folder.name]
    newer = [other for other in family if other.folder.age > board.folder.age]
    older = [other for other in family if other.folder.age < board.folder.age]
    declared = [(stated, other) for other in newer if (stated := other.loaded.protocol.follows)]
    return Versions(
        newest=max(newer, key=lambda other: other.folder.age, default=None),
        follows=next((one for one in declared if one[0].protocol == board.section.protocol), None),
        came_from=_sources(board, older),
        went_to=_followers(board, newer),
    )


def _sources(board: BoardPages, older: Sequence[BoardPages]) -> dict[str, Link]:
    """Return the nearest row that each row of a board came from."""
    rows = {digest: (other, entry) for other in older for entry in other.entries for digest in _digests(entry)}
    found: dict[str, Link] = {}
    for entry in board.entries:
        for origin in (one for record in entry.row.records for one in reversed(record.origins)):
            if origin.digest in rows:
                found.setdefault(entry.slug, _link(*rows[origin.digest], origin.change))
    return found


def _followers(board: BoardPages, newer: Sequence[BoardPages]) -> dict[str, Link]:
    """Return the nearest row that each row of a board became."""
    own = {digest: entry.slug for entry in board.entries for digest in _digests(entry)}
    found: dict[str, Link] = {}
    for other in sorted(newer, key=lambda one: one.folder.age):
        for entry in other.entries:
            for origin in (one for record in entry.row.records for one in record.origins):
                if origin.digest in own:
                    found.setdefault(own[origin.digest], _link(other, entry, origin.change))
    return found


def _digests(entry: Entry) -> set[str]:
    """Return every digest that the records of a row have or had in this version of the protocol."""
    return {digest for record in entry.row.records for digest in _own(record)}


def _own(record: Record) -> list[str]:
    where = f"{record.protocol.name}@{record.protocol.version}"
    return [record.digest, *(one.digest for one in record.origins if one.protocol == where)]


def _link(board: BoardPages, entry: Entry, change: str) -> Link:
    return Link(board.section.protocol, f"{board.address}/rows/{entry.slug}.html", change)
