"""Writing to the terminal: stdout for results, stderr for everything else, colour only where it is wanted.

Tables are plain aligned text, made here rather than with rich, which alone would cost half of the time that
``mibench list`` may take. Rich draws what moves: see :mod:`mibench.cli.progress`.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mibench.api.folders import home_folder
from mibench.execute.streams import answer
from mibench.results.display import printable

GAP = "  "
NARROWEST_LAST_COLUMN = 24


def wants_color(*, stderr: bool = False) -> bool:
    """Tell whether to colour, from ``--no-color``, ``NO_COLOR`` and whether a person is reading."""
    context = click.get_current_context(silent=True)
    options = context.find_root().obj if context else None
    if (isinstance(options, dict) and options.get("no_color")) or os.environ.get("NO_COLOR"):
        return False
    return (sys.stderr if stderr else answer()).isatty()


def echo(text: str = "", *, bold: bool = False) -> None:
    """Write a line of a result to stdout."""
    echo_text((click.style(text, bold=True) if bold and wants_color() else text) + "\n")


def echo_text(text: str) -> None:
    """Write text that has its line ends to stdout, wherever ``sys.stdout`` leads meanwhile."""
    click.echo(text, file=answer(), nl=False)


def note(text: str) -> None:
    """Write one line to stderr."""
    click.echo(text, file=sys.stderr)


def echo_json(document: Any) -> None:
    """Write a JSON document to stdout; what JSON does not know becomes text."""
    echo(json.dumps(document, indent=2, default=str))


def columns() -> int | None:
    """Return the width of the terminal that shows the answer; ``None`` if no terminal does."""
    if not answer().isatty():
        return None
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"]) or None
    try:
        return os.get_terminal_size(answer().fileno()).columns or None
    except (OSError, ValueError):
        return 80


def echo_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Write a table to stdout."""
    if title:
        echo(title, bold=True)
    for line in table_lines(headers, rows, width=columns()):
        echo(line)


def echo_grouped(groups: Sequence[str], titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table whose columns stand in named groups; a group's name may reach over the columns that follow.

    Args:
        groups: one entry per column, empty where a column belongs to the group before it.
        titles: one entry per column.
        rows: cells; a row that is shorter than the titles ends in free text.
    """
    whole = [[printable(cell) for cell in row] for row in rows]
    full = [row for row in whole if len(row) == len(titles)]
    starts = [at for at, group in enumerate(groups) if group]
    widths = [max(len(row[at]) for row in [list(titles), *full]) for at in range(len(titles))]
    widths[0] = max([widths[0], *(len(row[0]) for row in whole)])
    for start, end in zip(starts, [*starts[1:], len(titles)], strict=True):
        room = sum(widths[start:end]) + len(GAP) * (end - start - 1)
        widths[end - 1] += max(len(groups[start]) - room, 0)
    above = "".join(
        groups[start].ljust(sum(widths[start:end]) + len(GAP) * (end - start))
        for start, end in zip(starts, [*starts[1:], len(titles)], strict=True)
    )
    echo((" " * (widths[0] + len(GAP)) + above).rstrip())
    for row in [list(titles), *whole]:
        cells = [cell.ljust(widths[at]) for at, cell in enumerate(row)]
        echo(GAP.join(cells).rstrip())


def table_lines(headers: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> list[str]:
    """Align a table of plain text; control characters in the cells have no effect.

    Args:
        headers: column titles; all empty for none.
        rows: cells, converted to text.
        width: columns of the terminal, within which the last column wraps; ``None`` never wraps.
    """
    cells = [[printable(cell, limit=2000) for cell in row] for row in rows]
    body = [list(headers), *cells] if any(headers) else cells
    widths = [max((len(row[at]) for row in body), default=0) for at in range(len(headers))]
    before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    room = max(width - before, NARROWEST_LAST_COLUMN) if width else None
    lines: list[str] = []
    for row in body:
        wrapped = textwrap.wrap(row[-1], room) if room else [row[-1]]
        left = GAP.join(cell.ljust(widths[at]) for at, cell in enumerate(row[:-1]))
        lines.append(f"{left}{GAP if left else ''}{wrapped[0] if wrapped else ''}".rstrip())
        lines += [" " * before + line for line in wrapped[1:]]
    return lines


def duration(seconds: float | None) -> str:
    """Write a duration for people.

    >>> duration(0.43), duration(4), duration(125), duration(None)
    ('0.4 s', '4 s', '2 min', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short_path(path: Path) -> str:
    """Write a path relative to the current folder or to the user's home, where that is shorter."""
    try:
        whole, here = path.absolute(), Path.cwd()
    except OSError:  # the current folder is gone
        return str(path)
    if whole.is_relative_to(here):
        return str(whole.relative_to(here))
    home = home_folder()
    return f"~/{whole.relative_to(home)}" if home is not None and whole.is_relative_to(home) else str(whole)
