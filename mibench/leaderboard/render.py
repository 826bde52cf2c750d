"""A board as text: a table of strings for terminals, JSON, CSV and Markdown. Text from records is never trusted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mibench.leaderboard.board import Board, ProtocolBoard
from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.evidence import RECOMPUTED, REPORTED
from mibench.leaderboard.rows import Row
from mibench.results.display import printable, short, with_interval

EVIDENCE = "evidence"


@dataclass(frozen=True)
class TextTable:
    """A table ready to print; all text is on one line and free of control characters.

    Attributes:
        title: protocol and the start of its digest.
        columns: headings.
        rows: cells, as many as columns.
        footer: one line on controls and reading.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: str


def to_table(board: Board) -> list[TextTable]:
    """Return one table for each protocol version."""
    return [_table(section) for section in board.sections]


def to_markdown(board: Board) -> str:
    """Return Markdown with one table for each protocol version."""
    parts = []
    for table in to_table(board):
        kept = [place for place, name in enumerate(table.columns) if name != EVIDENCE]  # for screens and programs
        rows = [tuple(line[place] for place in kept) for line in (table.columns, *table.rows)]
        lines = [rows[0], tuple("---" for _ in kept), *rows[1:]]
        body = "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
        parts.append(f"### {_markdown(table.title)}\n\n{body}\n\n{_markdown(table.footer)}\n")
    return "\n".join(parts)


def to_json(board: Board) -> str:
    """Return JSON with everything that the board knows, for programs."""
    content = [{**_head(section), "rows": [_entry(row) for row in section.rows]} for section in board.sections]
    return json.dumps({"boards": content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(board: Board) -> str:
    """Return CSV: one line for each row of all sections, numbers at full precision, robust accuracies last."""
    radii = _radii(board.rows)
    names = list(_flat(board.rows[0], ()).keys()) if board.rows else ["protocol"]
    out = io.StringIO()
    writer = csv.DictWriter(out, names + [f"robust_acc@{eps}" for eps in radii], lineterminator="\n")
    writer.writeheader()
    for row in board.rows:
        writer.writerow({name: _csv(value) for name, value in _flat(row, radii).items()})
    return out.getvalue()


def _table(section: ProtocolBoard) -> TextTable:
    radii = _radii(section.rows)
    columns = ("rank", "defense", "model", "leakage ↓", "attack acc@1 ↓", "normalised ↓", "accuracy ↑")
    robust = tuple(f"robust ε={eps}/255 ↑" for eps in radii)
    rows = tuple(_cells(row, section, radii) for row in section.rows)
    first = section.rows[0] if section.rows else None
    controls = f"floor {short(first.floor)}, gold {short(first.gold)}; " if first else "no entries; "
    return TextTable(
        title=printable(f"{section.protocol} ({section.digest[:6]})  {section.summary}"),
        columns=(*columns, *robust, "worst attack", "attacks", "seeds", EVIDENCE, "flags"),
        rows=rows,
        footer=controls + printable(f"leakage is {section.headline}, worst case over attacks, mean over seeds, "
        "[95 % over classes]; overlapping intervals share a rank; "
        "without a rank: see flags"),
    )  # fmt: skip


def _cells(row: Row, section: ProtocolBoard, radii: Iterable[str]) -> tuple[str, ...]:
    name = f"{row.defense} ({row.note})" if row.note else row.defense
    cells = [
        str(row.rank) if row.rank else short(None),
        name,
        row.model,
        with_interval(*row.leakage),
        _number(row.attack_accuracy),
        short(row.normalized),
        with_interval(*row.accuracy) if row.accuracy else short(None),
        *(_number(row.robust.get(eps)) for eps in radii),
        row.worst_attack,
        str(len(row.attacks)),
        f"{len(set(row.seeds) & set(section.seeds))} of {len(section.seeds)}",
        f"{REPORTED}: {', '.join(row.reported)}" if row.reported else RECOMPUTED,
        ", ".join(flag.id for flag in row.flags),
    ]
    return tuple(printable(cell) for cell in cells)


def _number(made: Estimate | None) -> str:
    return short(made.value if made else None)


def _radii(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(sorted({eps for row in rows for eps in row.robust}, key=float))


def _head(section: ProtocolBoard) -> dict[str, Any]:
    return {
        "protocol": section.protocol,
        "digest": section.digest,
        "summary": section.summary,
        "headline": section.headline,
        "seeds": list(section.seeds),
    }


def _entry(row: Row) -> dict[str, Any]:
    def both(made: Estimate | None) -> dict[str, Any] | None:
        return {"value": made.value, "ci95": made.ci95} if made else None

    return {
        **row.__dict__,
        "rank": row.rank or None,
        "leakage": both(row.leakage),
        "attack_accuracy": both(row.attack_accuracy),
        "accuracy": both(row.accuracy),
        "robust": {eps: both(made) for eps, made in row.robust.items()},
        "flags": [flag.model_dump() for flag in row.flags],
    }


def _flat(row: Row, radii: Iterable[str]) -> dict[str, Any]:
    def spread(name: str, made: Estimate | None) -> dict[str, float | None]:
        low, high = made.ci95 if made and made.ci95 else (None, None)
        return {name: made.value if made else None, f"{name}_low": low, f"{name}_high": high}

    return {
        "protocol": row.protocol,
        "rank": row.rank or None,
        "unranked": " ".join(row.unranked),
        "model": row.model,
        "defense": row.defense,
        "defense_version": row.defense_version,
        "params_digest": row.params_digest,
        "note": row.note,
        **spread("leakage", row.leakage),
        "normalized_leakage": row.normalized,
        "worst_attack": row.worst_attack,
        **spread("attack_accuracy", row.attack_accuracy),
        **spread("accuracy", row.accuracy),
        "floor": row.floor,
        "undefended": row.undefended,
        "gold": row.gold,
        "classes": row.classes,
        "attacks": " ".join(row.attacks),
        "seeds": " ".join(map(str, row.seeds)),
        "flags": " ".join(flag.id for flag in row.flags),
        **{f"robust_acc@{eps}": made.value if (made := row.robust.get(eps)) else None for eps in radii},
    }


def _csv(value: object) -> object:
    """Spreadsheets run text that begins like a formula; a leading apostrophe makes it text."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _markdown(text: str) -> str:
    for char, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "\\`"), ("[", "\\["), ("!", "\\!")):
        text = text.replace(char, safe)
    return text
