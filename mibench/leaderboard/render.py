"""A board for programs: JSON and CSV. Text from records is never trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mibench.base.csv_text import csv_text
from mibench.leaderboard.board import Board, ProtocolBoard
from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.row import Row
from mibench.leaderboard.tables import radii
from mibench.results.display import printable


def to_json(board: Board) -> str:
    """Return JSON with everything that the board knows, for programs."""
    content = [{**_head(section), "rows": [_entry(row) for row in section.rows]} for section in board.sections]
    return json.dumps({"boards": content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(board: Board) -> str:
    """Return CSV: one line for each row of all sections, robust accuracies last.

    Numbers have ten digits: the last ones of a double depend on how a machine adds up, and the file is compared.
    """
    shown = radii(board.rows)
    names = list(_flat(board.rows[0], ()).keys()) if board.rows else ["protocol"]
    lines = (map(csv_cell, _flat(row, shown).values()) for row in board.rows)
    return csv_text(names + [f"robust_acc@{eps}" for eps in shown], lines)


def _head(section: ProtocolBoard) -> dict[str, Any]:
    return {
        "protocol": section.protocol,
        "digest": section.digest,
        "summary": section.summary,
        "headline": section.headline,
        "seeds": list(section.seeds),
        "suite": list(section.suite),
        "undefended": section.undefended,
        "smallest_difference": section.smallest,
        "newer": section.newer or None,
        "withdrawn": [one.notice.model_dump(mode="json") for one in section.withdrawn],
    }


def _entry(row: Row) -> dict[str, Any]:
    def both(made: Estimate | None) -> dict[str, Any] | None:
        return {"value": made.value, "ci95": made.ci95} if made else None

    found = row.worst_found
    return {
        **{name: value for name, value in row.__dict__.items() if name not in ("scores", "records")},
        "rank": row.rank or None,
        "standing": {**asdict(row.standing), "words": row.standing.words},
        "leakage": both(row.leakage),
        "difference": row.difference._asdict() if row.difference else None,
        "maximum": row.maximum._asdict() if row.maximum else None,
        "worst_found": {**(both(found.leakage) or {}), "attack": found.attack} if found else None,
        "attack_accuracy": both(row.attack_accuracy),
        "accuracy": both(row.accuracy),
        "robust": {eps: both(made) for eps, made in row.robust.items()},
        "flags": [flag.model_dump() for flag in row.flags],
    }


def _flat(row: Row, shown: Iterable[str]) -> dict[str, Any]:
    def spread(name: str, made: Estimate | None) -> dict[str, float | None]:
        low, high = made.ci95 if made and made.ci95 else (None, None)
        return {name: made.value if made else None, f"{name}_low": low, f"{name}_high": high}

    gap = row.difference
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
        **spread("difference", Estimate(gap.value, gap.ci95) if gap else None),
        "difference_p": gap.p if gap else None,
        "leakage_bias": row.maximum.bias if row.maximum else None,
        "worst_found": row.worst_found.leakage.value if row.worst_found else None,
        "worst_found_attack": row.worst_found.attack if row.worst_found else None,
        "normalized_leakage": row.normalized,
        "worst_attack": row.worst_attack,
        **spread("attack_accuracy", row.attack_accuracy),
        **spread("accuracy", row.accuracy),
        "floor": row.floor,
        "lookalike": row.lookalike,
        "undefended": row.undefended,
        "gold": row.gold,
        "classes": row.classes,
        "attacks": " ".join(row.attacks),
        "seeds": " ".join(map(str, row.seeds)),
        "flags": " ".join(flag.id for flag in row.flags),
        "evidence": row.standing.level,
        "ran_by": "; ".join(row.standing.ran_by),
        **{f"robust_acc@{eps}": made.value if (made := row.robust.get(eps)) else None for eps in shown},
    }


def csv_cell(value: object) -> object:
    """Return what a cell holds. Spreadsheets run text that begins like a formula; an apostrophe before it helps."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
