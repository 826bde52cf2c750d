"""Attacks that chose their images by an evaluator are shown on a board and never judge a defense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from record_factory import PROTOCOL_TEXT, make_record, metric

from mibench.leaderboard import add_records, load_board
from mibench.leaderboard.rows import Row
from mibench.results.io import save_record
from mibench.results.record import Record

PEEKED = "chosen-by-evaluator"


def peeked(leakage: float = 0.7, attack: str = "peeker", **more: Any) -> Record:
    """Return a record whose images an evaluator chose, which then recognises nearly all of them."""
    own = {"attack_acc@1/net": metric(0.9), "attack_acc@5/net": metric(0.95)}
    ledger = {**make_record().ledger.model_dump(), "chosen_by": "evaluator:net"}
    return make_record(attack=attack, leakage=leakage, metrics=own, ledger=ledger, **more)


def rows_of(folder: Path, *records: Record) -> list[Row]:
    """Return the rows of the board that these files make."""
    files = [save_record(record, folder / "run") for record in records]
    add_records(files, folder / "boards", {"tiny@1.0": PROTOCOL_TEXT})
    return list(load_board(folder / "boards").rows)


def test_a_row_of_an_attack_that_peeked_has_no_rank_however_low_its_leakage(tmp_path: Path) -> None:
    alone = peeked(leakage=0.15, attack="ppa", defense="spied-on")
    first, last = rows_of(tmp_path, alone, make_record(defense="sound", attack="ppa", leakage=0.5))
    assert (first.defense, first.rank, first.unranked) == ("sound", 1, ())
    assert (last.defense, last.rank, last.unranked) == ("spied-on", 0, (PEEKED,))
    assert last.leakage.value == pytest.approx(0.15)


def test_beside_an_honest_attack_the_honest_one_is_the_worst_case(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path, peeked(leakage=0.7), make_record(attack="ppa", leakage=0.3))
    assert (row.worst_attack, row.rank, row.unranked) == ("ppa", 1, ())
    assert row.leakage.value == pytest.approx(0.3)
    assert row.attack_accuracy
    assert row.attack_accuracy.value == pytest.approx(0.6)  # record_factory's; the one that peeked has 0.9


def test_beside_an_honest_attack_the_row_still_shows_who_peeked(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path, peeked(), make_record(attack="ppa", leakage=0.3))
    assert row.attacks == ("peeker", "ppa")
    assert "evaluator:net" in {flag.id: flag.text for flag in row.flags}[PEEKED]
