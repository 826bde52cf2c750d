"""The page of a board: the table, what it can be filtered by, the drawings, and the data that its script reads."""

from __future__ import annotations

from collections.abc import Sequence

from mibench.site.board_data import board_data
from mibench.site.columns import columns_of
from mibench.site.entry import BoardPages
from mibench.site.library import Library
from mibench.site.pages import as_script, render
from mibench.site.scatter import family_marks, scatters
from mibench.site.versions import Versions


def board_page(
    board: BoardPages, versions: Versions, library: Library, url: str, tabs: Sequence[BoardPages] = ()
) -> str:
    """Return the page.

    Args:
        board: the board.
        versions: where it stands among the versions of its protocol.
        library: what installed plugins say about components.
        url: address of the site; empty if it is not known.
        tabs: the boards of the same records for other attackers, this one among them.
    """
    columns = columns_of(board.section, board.entries)
    return render(
        "board.html",
        root="../../",
        board=board,
        section=board.section,
        versions=versions,
        tabs=tabs if len(tabs) > 1 else (),
        columns=columns,
        facets=_facets(board),
        drawings=scatters(board.section, board.entries),
        marks=family_marks(board.entries),
        glyph_range=_ends(board),
        data=as_script(board_data(board, columns, library, url)),
    )


def _ends(board: BoardPages) -> tuple[float, float]:
    """Return the ends of the axis of the small drawings beside leakages."""
    rows = [entry.row for entry in board.entries]
    found = [end for row in rows for end in (row.leakage.value, *(row.leakage.ci95 or ()))]
    found += [row.floor for row in rows if row.floor is not None]
    return min([0.0, *found]), max([0.0, *found])


def _facets(board: BoardPages) -> list[tuple[str, str, list[str]]]:
    """Return what rows can be chosen by: name, title and values, where there is a choice."""
    entries = board.entries
    found = [
        ("access", "holds against", {entry.access or "unstated" for entry in entries}),
        ("family", "family", {entry.family or "other" for entry in entries}),
        ("model", "model", {entry.row.model for entry in entries}),
        ("evidence", "evidence", {entry.evidence for entry in entries}),
        ("complete", "rank", {"ranked" if entry.complete else "without rank" for entry in entries}),
    ]
    return [(name, title, sorted(values)) for name, title, values in found if len(values) > 1]
