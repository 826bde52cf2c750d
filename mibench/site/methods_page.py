"""What is on the boards: components with their papers, and where each was used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mibench.results.display import printable
from mibench.site.entry import BoardPages
from mibench.site.library import Library, Method

SHOWN = {"defense": "Defenses", "attack": "Attacks", "prior": "Priors", "dataset": "Data sets", "metric": "Metrics"}


@dataclass(frozen=True)
class Used:
    """A component of the boards.

    Attributes:
        method: what is known of it.
        versions: versions of its numbers on the boards, with its distribution.
        rows: addresses and names of the rows of a defense.
        boards: protocols that it was used under.
    """

    method: Method
    versions: str
    rows: list[tuple[str, str]]
    boards: str


def methods_page(boards: Sequence[BoardPages], library: Library) -> list[tuple[str, list[Used]]]:
    """Return components of boards by kind, each with what its plugin says, where that is installed."""
    seen: dict[tuple[str, str], tuple[dict[str, None], dict[str, None], dict[tuple[str, str], None]]] = {}
    for board in boards:
        for entry in board.entries:
            address = f"{board.address}/rows/{entry.slug}.html"
            for record in entry.row.records:
                for part in record.components.values():
                    for name in part.name.split("+"):
                        versions, where, rows = seen.setdefault((part.kind, name), ({}, {}, {}))
                        versions[f"v{part.version} of {part.distribution} {part.distribution_version}"] = None
                        where[board.section.protocol] = None
                        if part.kind == "defense":
                            rows[address, f"{entry.name} · {board.section.protocol}"] = None
    groups = []
    for kind, title in SHOWN.items():
        found = sorted(name for of, name in seen if of == kind)
        if found:
            groups.append((title, [_used(library, kind, name, *seen[kind, name]) for name in found]))
    return groups


def _used(
    library: Library,
    kind: str,
    name: str,
    versions: dict[str, None],
    where: dict[str, None],
    rows: dict[tuple[str, str], None],
) -> Used:
    known = library.get((kind, name)) or Method(kind, printable(name), "not installed where this page was made")
    return Used(known, printable(", ".join(versions), 300), list(rows), printable(", ".join(where), 300))
