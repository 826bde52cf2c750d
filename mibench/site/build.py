"""Write the site: an overview, pages for each board and each row, and what explains them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mibench.api.errors import UsageError
from mibench.base.files import write_atomic
from mibench.exchange.cells import cells_csv
from mibench.exchange.every_eval import Source
from mibench.exchange.export import Target, citations, described
from mibench.leaderboard.board import Board
from mibench.leaderboard.catalogue import catalogue
from mibench.leaderboard.render import to_csv, to_json
from mibench.results.record import Record
from mibench.results.schema import schema_name, schema_text
from mibench.site import changes as history
from mibench.site.board_page import board_page
from mibench.site.columns import columns_of
from mibench.site.entry import BoardPages, load_pages
from mibench.site.library import Library
from mibench.site.matrix import matrix
from mibench.site.methods_page import methods_page
from mibench.site.pages import render
from mibench.site.row_page import row_page
from mibench.site.versions import Versions, versions_of
from mibench.site.withdrawn import Gone

CHANGES = "changes.json"
MARK = "mibench-site.json"
"""Lies in every built site and lists its files; a folder with other things in it is not written into."""
File = tuple[str, str]


class Settings(NamedTuple):
    """How a site is built.

    Attributes:
        date: of the build, ``YYYY-MM-DD``.
        url: address of the site, with a slash at its end; empty makes relative links only.
        entries_url: address of the leaderboards folder for people, with a slash; empty makes no links to records.
    """

    date: str
    url: str = ""
    entries_url: str = ""


def build_site(root: Path, out: Path, library: Library, settings: Settings) -> list[Path]:
    """Write the site of all boards below a leaderboards folder. Equal entries and settings give equal bytes.

    What changed is told against the site that lies in ``out`` already. Files of that site which this one does not have
    are removed; addresses of boards and rows stay as long as their entries do.

    Args:
        root: the leaderboards folder.
        out: the folder of the site; it is made if need be.
        library: what installed plugins say about components.
        settings: date and addresses.

    Returns:
        The files that were written.

    Raises:
        UsageError: if there is no board, or ``out`` holds something that is no site.
        RecordError: for a damaged entry.
    """
    old = _old_files(out)
    boards = load_pages(root, library)
    told = history.note_changes(boards, _before(out), settings.date)
    files = dict(_files(boards, told, library, settings))
    files[MARK] = json.dumps({"format": 1, "files": sorted(files)}, indent=1) + "\n"
    written = [write_atomic(out / name, text) for name, text in files.items()]
    for name in old - set(files):
        (out / name).unlink(missing_ok=True)
    return written


def _files(
    boards: Sequence[BoardPages], told: Mapping[str, Any], library: Library, settings: Settings
) -> Iterator[File]:
    latest = told["changes"][:12]
    yield "index.html", render("index.html", root="", boards=boards, changes=latest)
    yield "methods.html", render("methods.html", root="", groups=methods_page(boards, library))
    yield "read.html", render("read.html", root="")
    yield "submit.html", render("submit.html", root="")
    yield "rules.html", render("rules.html", root="", rules=catalogue(), schema=schema_name())
    yield "changes.html", render("changes.html", root="", changes=told["changes"])
    yield schema_name(), schema_text()
    yield CHANGES, history.to_json(told)
    yield "changes.xml", history.to_atom(told["changes"], settings.url, settings.date)
    yield "withdrawn.html", render("withdrawn.html", root="", boards=boards)
    yield from _gone_files(boards, told["changes"])
    for board in boards:
        found = versions_of(board, boards)
        for name, text in _board_files(board, found, told["changes"], library, settings):
            yield f"{board.address}/{name}", text


def _gone_files(boards: Sequence[BoardPages], changes: Sequence[history.Change]) -> Iterator[File]:
    """Yield a page for each address at which a row or board stood: it says when it went and why."""
    withdrawn: dict[str, list[Gone]] = {}
    for board in boards:
        there = {entry.slug for entry in board.entries}
        for one in board.withdrawn:
            if one.slug not in there:
                withdrawn.setdefault(f"{board.address}/rows/{one.slug}.html", []).append(one)
    rows = {address: (own[0].board, own[0].slug) for address, own in withdrawn.items()}
    rows |= {address: (change["board"], change["row"]) for address, change in history.gone(changes, boards).items()}
    for address, (name, row) in rows.items():
        own = withdrawn.get(address, [])
        root, what = "../" * address.count("/"), own[0].name if own else row or name
        yield (
            address,
            render(
                "gone.html", root=root, what=what, board=name, withdrawn=own, changes=history.of_row(changes, name, row)
            ),
        )


def _board_files(
    board: BoardPages, found: Versions, changes: Sequence[history.Change], library: Library, settings: Settings
) -> Iterator[File]:
    columns = columns_of(board.section, board.entries)
    common: dict[str, Any] = {"board": board, "section": board.section, "versions": found}
    tabs = (board, *board.narrower)
    yield from (
        (tab.page, board_page(tab, found, library, settings.url, tabs))
        for tab in (tabs if board.narrower else (board,))
    )
    yield "matrix.html", render("matrix.html", root="../../", matrix=matrix(board), **common)
    for entry in board.entries:
        page = row_page(board, entry, columns, library, settings.url)
        own = history.of_row(changes, board.section.protocol, entry.slug)
        taken = [one for one in board.withdrawn if one.slug == entry.slug]
        more = {"changes": own, "withdrawn": taken, "entries_url": settings.entries_url}
        yield f"rows/{entry.slug}.html", render("row.html", root="../../../", page=page, **more, **common)
    whole = Board((board.section,))
    yield "board.json", to_json(whole)
    yield "board.csv", to_csv(whole)
    yield "cells.csv", cells_csv(_records(board))
    yield "protocol.yaml", board.loaded.text
    target = Target(Source("mibench", "other", "", settings.date), settings.url)
    yield "citations.bib", citations(board.section, target)
    yield "croissant.json", described(board.section, target)


def _records(board: BoardPages) -> list[Record]:
    return [record for entry in board.entries for record in entry.row.records]


def _before(out: Path) -> dict[str, Any] | None:
    file = out / CHANGES
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file} is not JSON ({error}); remove it to begin a new history") from None
    if not history.is_history(found):
        raise UsageError(f"{file} is not what a build wrote; remove it to begin a new history")
    return dict(found)


def _old_files(out: Path) -> set[str]:
    """Return the files of the site that lies in a folder already.

    Raises:
        UsageError: if other things lie there.
    """
    if not out.exists() or not any(out.iterdir()):
        return set()
    mark = out / MARK
    if not mark.is_file():
        if {path.name for path in out.iterdir()} == {CHANGES}:  # the history of a site that is published elsewhere
            return set()
        raise UsageError(f"{out} holds files that are no mibench site; give an empty folder with --out")
    names = json.loads(mark.read_text(encoding="utf-8"))["files"]
    return {name for name in names if (out / name).resolve().is_relative_to(out.resolve())}
