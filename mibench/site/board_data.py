"""What the script of a board's page reads: raw numbers of the rows, p of pairs, citations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mibench.exchange.cite import bibtex_keys, cite_row, row_key
from mibench.leaderboard.differences import LEVEL
from mibench.site.columns import Column
from mibench.site.entry import BoardPages, Entry
from mibench.site.library import Library, methods
from mibench.site.pairs import pairs

Value = str | float | None | list[float | None]


def board_data(board: BoardPages, columns: Sequence[Column], library: Library, url: str) -> dict[str, Any]:
    """Return it as plain values: rows in the order of the board, ``pairs`` as a triangle over the ranked ones."""
    section = board.section
    papers = {entry.slug: _papers(entry, library) for entry in board.entries}
    found = {key: text for own in papers.values() for key, text in own.items()}
    return {
        "protocol": section.protocol,
        "digest": section.digest[:12],
        "headline": section.headline,
        "attackers": board.attackers,
        "level": LEVEL,
        "columns": [{"id": column.id, "title": column.title, "usual": column.usual} for column in columns],
        "rows": [_row(board, entry, columns, papers[entry.slug], url) for entry in board.entries],
        "pairs": pairs(section.rows),
        "bibtex": found,
    }


def _row(
    board: BoardPages, entry: Entry, columns: Sequence[Column], papers: dict[str, str], url: str
) -> dict[str, Any]:
    address = f"{url}{board.address}/rows/{entry.slug}.html" if url else ""
    return {
        "id": entry.slug,
        "name": entry.name,
        "rank": entry.row.rank or None,
        "values": {column.id: _value(column, entry) for column in columns},
        "cites": list(papers),
        "key": row_key(entry.row, entry.slug),
        "bibtex": cite_row(entry.row, board.section.digest, entry.slug, address),
    }


def _value(column: Column, entry: Entry) -> Value:
    shown = column.cell(entry)
    if isinstance(shown.value, float) and shown.interval:
        return [_digits(shown.value), *map(_digits, shown.interval)]
    return _digits(shown.value) if isinstance(shown.value, float) else shown.value


def _digits(value: float) -> float:
    return float(f"{value:.10g}")


def _papers(entry: Entry, library: Library) -> dict[str, str]:
    """Return the BibTeX of a row's defense, by its first key."""
    texts = [method.paper for method in methods(library, "defense", entry.row.defense) if method.paper]
    return {keys[0]: text.strip() + "\n" for text in texts if (keys := bibtex_keys(text))}
