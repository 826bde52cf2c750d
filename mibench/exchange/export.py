"""A board's files in each of the formats that are offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mibench.exchange.cells import cells_csv
from mibench.exchange.cite import cite_row, row_slug
from mibench.exchange.croissant import croissant
from mibench.exchange.every_eval import Source, every_eval
from mibench.exchange.hugging_face import eval_results
from mibench.leaderboard.board import Board, ProtocolBoard
from mibench.leaderboard.render import to_csv

File = tuple[str, str]


class Target(NamedTuple):
    """Where exported files will be, and who hands them over.

    Attributes:
        source: who.
        url: address of the site with a slash at its end; empty if it is not known.
        dataset: the benchmark's data set repository on Hugging Face.
    """

    source: Source
    url: str = ""
    dataset: str = ""

    def board(self, section: ProtocolBoard) -> str:
        """Return the address of a board; empty if that of the site is not known."""
        return f"{self.url}{section.protocol.replace('@', '/')}/" if self.url else ""


def citations(section: ProtocolBoard, target: Target) -> str:
    """Return BibTeX for all rows of a board."""
    at = target.board(section)
    return "\n".join(
        cite_row(row, section.digest, row_slug(row), f"{at}rows/{row_slug(row)}.html" if at else "")
        for row in section.rows
    )


def described(section: ProtocolBoard, target: Target) -> str:
    """Return the Croissant metadata of a board's tables."""
    records = [record for row in section.rows for record in row.records]
    tables = {"board.csv": to_csv(Board((section,))), "cells.csv": cells_csv(records)}
    title = f"@misc{{mibench-{section.protocol.replace('@', '-')}, title={{mibench {section.protocol}, digest "
    bibtex = f"{title}{section.digest[:12]}}}, author={{{{The mibench leaderboard}}}}}}"
    return croissant(section, tables, url=target.board(section), date=target.source.date, bibtex=bibtex)


def _cells(section: ProtocolBoard, target: Target) -> Iterator[File]:
    del target
    yield "cells.csv", cells_csv([record for row in section.rows for record in row.records])


def _bibtex(section: ProtocolBoard, target: Target) -> Iterator[File]:
    yield "citations.bib", citations(section, target)


def _every_eval(section: ProtocolBoard, target: Target) -> Iterator[File]:
    source = target.source._replace(url=target.board(section))
    yield from (every_eval(section, row, source) for row in section.rows)


def _hugging_face(section: ProtocolBoard, target: Target) -> Iterator[File]:
    for row in section.rows:
        made = eval_results(section, row, target.dataset, target.board(section), target.source.date)
        if made is not None and row.rank:
            yield made


def _croissant(section: ProtocolBoard, target: Target) -> Iterator[File]:
    yield "croissant.json", described(section, target)


FORMATS: dict[str, Callable[[ProtocolBoard, Target], Iterator[File]]] = {
    "cells": _cells,
    "bibtex": _bibtex,
    "every-eval-ever": _every_eval,
    "huggingface": _hugging_face,
    "croissant": _croissant,
}
"""Formats by name; each yields files of a board."""
