"""Attestations: levels of rows, agreement by stated numbers, rules with an example that breaks and one that keeps."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from record_factory import PROTOCOL_TEXT, make_record, metric

from mibench.api.errors import MibenchError, UsageError
from mibench.leaderboard import RefusedError, add_records, check_paths, load_board, to_csv, to_json, to_table
from mibench.leaderboard.agreement import outcome_of
from mibench.leaderboard.attest import Found, Witness, attest, attest_ran, repeated
from mibench.leaderboard.attestation import Attestation, read_attestation
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.standing import Standing
from mibench.leaderboard.withdraw import withdraw
from mibench.results.io import save_record, seal
from mibench.results.record import Record

ANNA = Witness("Anna", "third-party", "2026-11-29")
BEN = Witness("Ben <https://ben.example>", "third-party", "2026-11-30")
KEYS = ("ab" * 32, "cd" * 32)


def entry(seed: int = 0, **settings: Any) -> Record:
    return make_record(seed=seed, key=KEYS[seed], **settings)


def again(record: Record, **changes: Any) -> Record:
    """Return another run of the same cell, which took longer."""
    return seal(record.model_copy(update={"timings": {"target": 99.0}, **changes}))


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    """Return a board with one row of two seeds."""
    root = tmp_path / "boards"
    add_records([save_record(entry(seed), tmp_path / "run") for seed in (0, 1)], root, {"tiny@1.0": PROTOCOL_TEXT})
    return root


def standing(boards: Path) -> Standing:
    [row] = load_board(boards).rows
    return row.standing


def broken(boards: Path) -> list[str]:
    return [finding.id for one in check_paths([boards], boards) for finding in one.findings]


def regraded(*seeds: int, **changes: Any) -> list[Found]:
    return [(entry(seed), again(entry(seed), **changes)) for seed in seeds]


def ran_again(tmp_path: Path, boards: Path, *records: Record) -> list[Found]:
    return repeated([save_record(record, tmp_path / "mine") for record in records], boards)


def test_a_row_is_reported_until_somebody_looks(boards: Path) -> None:
    assert standing(boards).words == "reported"
    attest_ran([entry(0), entry(1)], boards, ANNA)
    assert standing(boards).words == "reported by Anna"
    assert standing(boards).level == "reported"


def test_a_row_has_the_level_that_all_of_its_records_have(tmp_path: Path, boards: Path) -> None:
    attest_ran([entry(0), entry(1)], boards, ANNA)
    attest("regraded", regraded(0), boards, BEN, judges="own")
    assert (standing(boards).level, standing(boards).regraded) == ("reported", 1)
    assert standing(boards).words == "reported by Anna; regraded 1 of 2 by Ben <https://ben.example>"
    attest("reproduced", ran_again(tmp_path, boards, again(entry(1))), boards, BEN)
    assert (standing(boards).level, standing(boards).reproduced) == ("regraded", 1)
    attest("reproduced", ran_again(tmp_path, boards, again(entry(0))), boards, BEN)
    assert standing(boards).level == "reproduced"
    assert broken(boards) == []


def test_authors_do_not_confirm_themselves(boards: Path) -> None:
    attest("regraded", regraded(0, 1), boards, Witness("Carl", "authors", "2026-11-29"))
    assert (standing(boards).level, standing(boards).regraded) == ("reported", 0)


def test_nobody_reproduces_their_own_run(tmp_path: Path, boards: Path) -> None:
    attest_ran([entry(0)], boards, ANNA)
    before = sorted(boards.rglob("*.json"))
    for who in (Witness("anna", "third-party", "2026-11-29"), Witness("Dora", "authors", "2026-11-29")):
        with pytest.raises(RefusedError, match="MB905 by: expected somebody else than who ran the record"):
            attest("reproduced", ran_again(tmp_path, boards, again(entry(0))), boards, who)
    assert sorted(boards.rglob("*.json")) == before


def test_other_numbers_are_written_down_and_flag_the_row(tmp_path: Path, boards: Path) -> None:
    other = make_record(key=KEYS[0], leakage=0.9)
    attest("reproduced", ran_again(tmp_path, boards, other), boards, BEN)
    [row] = load_board(boards).rows
    assert (row.standing.level, row.standing.disputed, row.standing.reproduced) == ("reported", 1, 0)
    assert [flag.id for flag in row.flags if flag.id == "disputed"] == ["disputed"]
    assert "1 of 2 records came out otherwise for Ben" in row.standing.flag.text
    assert [(said.records, said.words) for said in row.standing.said] == [(1, "otherwise 1")]
    assert broken(boards) == []


@pytest.mark.parametrize(
    ("leakage", "accuracy", "outcome"),
    [(0.3, 0.95, "equal"), (0.31, 0.95, "agrees"), (0.9, 0.95, "differs"), (0.31, 0.5, "differs")],
)
def test_runs_agree_within_each_others_intervals(
    tmp_path: Path, boards: Path, leakage: float, accuracy: float, outcome: str
) -> None:
    clean = {"accuracy": metric(accuracy, group="utility", up=True, n=24)}
    found = make_record(key=KEYS[0], leakage=leakage, metrics=clean, timings={"target": 5.0})
    [(path, one)] = attest("reproduced", [(entry(0), found)], boards, BEN)
    [said] = one.statements
    assert said.outcome == outcome
    assert said.difference is not None
    assert said.difference.value == pytest.approx(leakage - 0.3)
    low, high = entry(0).metrics["reid@1"].ci95 or (0, 0)
    assert (said.headline.published.value, said.headline.published.ci95) == (0.3, (low, high))
    assert (low <= leakage <= high) == (outcome in ("equal", "agrees") or accuracy == 0.5)
    assert path.parent == boards / "tiny" / "1.0" / "attestations"


def test_a_regrading_that_moved_a_column_differs_however_little(boards: Path) -> None:
    slightly = {**entry(0).metrics, "reid@5": metric(0.501)}
    [(_, one)] = attest("regraded", regraded(0, metrics=slightly), boards, BEN)
    assert (one.statements[0].outcome, list(one.statements[0].moved)) == ("differs", ["reid@5"])
    rounded = {**entry(0).metrics, "reid@5": metric(0.5 + 1e-9)}
    [(_, one)] = attest("regraded", regraded(0, metrics=rounded), boards, BEN)
    assert (one.statements[0].outcome, one.statements[0].moved) == ("equal", {})


def test_what_was_said_of_a_withdrawn_record_stays(boards: Path) -> None:
    attest_ran([entry(0), entry(1)], boards, ANNA)
    [board] = choose(boards, None)
    gone = [path for path, record in board.records() if record.cell.seed == 1]
    withdraw(boards, board, gone, reason="wrong data", by="Anna", date="2026-12-01")
    assert broken(boards) == []
    assert (standing(boards).records, standing(boards).ran_by) == (1, ("Anna",))


def test_what_is_not_published_cannot_be_repeated(tmp_path: Path, boards: Path) -> None:
    with pytest.raises(UsageError, match=r"its cell is not on the board of tiny@1\.0"):
        ran_again(tmp_path, boards, make_record(seed=2))
    with pytest.raises(UsageError, match="is the entry itself"):
        ran_again(tmp_path, boards, entry(0))
    with pytest.raises(RefusedError, match="MB701"):
        ran_again(tmp_path, boards, again(entry(0), command=" "))
    with pytest.raises(RefusedError, match=r"MB902 statements\.0\.record"):
        attest_ran([make_record(seed=2)], boards, ANNA)


def test_tables_programs_and_csv_hold_the_level(boards: Path) -> None:
    attest_ran([entry(0), entry(1)], boards, ANNA)
    attest("regraded", regraded(0, 1), boards, BEN)
    board = load_board(boards)
    [table] = to_table(board)
    assert table.rows[0][table.columns.index("evidence")] == "reported by Anna; regraded by Ben <https://ben.example>"
    [row] = csv.DictReader(to_csv(board).splitlines())
    assert (row["evidence"], row["ran_by"]) == ("regraded", "Anna")
    told = json.loads(to_json(board))["boards"][0]["rows"][0]["standing"]
    assert (told["level"], told["regraded"], told["records"], told["ran_by"]) == ("regraded", 2, 2, ["Anna"])
    assert [(said["kind"], said["by"], said["records"], said["outcomes"]) for said in told["said"]] == [
        ("ran", "Anna", 2, {}),
        ("regraded", "Ben <https://ben.example>", 2, {"equal": 2}),
    ]
    assert (boards / "tiny" / "1.0" / "board.csv").read_text() == to_csv(board)


def rewrite(boards: Path, change: Any, *, renamed: bool = True) -> None:
    """Edit the attestation of a board, and give it the name that its content demands."""
    [path] = boards.rglob("attestations/*.json")
    raw = json.loads(path.read_text())
    change(raw)
    path.unlink()
    name = Attestation.model_validate(raw).file_name if renamed else path.name
    path.with_name(name).write_text(json.dumps(raw))


def whole(boards: Path) -> tuple[Path, BoardFolder]:
    """Return the file of a board's attestation, and the board."""
    [path] = boards.rglob("attestations/*.json")
    return path, BoardFolder(boards, "tiny", "1.0")


def shift(number: Any, value: float) -> None:
    """Move a number with its interval."""
    by = value - number["value"]
    number.update(value=value, ci95=[end + by for end in number["ci95"]])


def said(raw: Any) -> Any:
    return raw["statements"][0]


BREAKS = {
    "MB901": (lambda raw: raw.update(note="added later"), False),
    "MB902": (lambda raw: said(raw).update(record="0" * 64), True),
    "MB903": (lambda raw: said(raw)["headline"]["published"].update(value=0.29), True),
    "MB904": (lambda raw: said(raw).update(outcome="agrees"), True),
    "MB905": (lambda raw: raw.update(party="authors"), True),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_has_what_breaks_it_and_what_keeps_it(tmp_path: Path, boards: Path, rule: str) -> None:
    attest("reproduced", ran_again(tmp_path, boards, again(entry(0))), boards, BEN)
    assert broken(boards) == []
    change, renamed = BREAKS[rule]
    rewrite(boards, change, renamed=renamed)
    assert rule in broken(boards)


@pytest.mark.parametrize(
    ("kind", "column", "value", "outcome"),
    [("reproduced", "headline", 0.95, "differs"), ("reproduced", "headline", 0.3 + 1e-8, "equal"),
     ("reproduced", "headline", 0.305, "agrees"), ("reproduced", "accuracy", 0.1, "differs"),
     ("regraded", "headline", 0.305, "differs"), ("regraded", "accuracy", 0.949, "differs")],
)  # fmt: skip
def test_equal_is_what_its_own_numbers_say(
    boards: Path, kind: Literal["regraded", "reproduced"], column: str, value: float, outcome: str
) -> None:
    [(_, one)] = attest(kind, [(entry(0), again(entry(0)))], boards, BEN)
    rewrite(boards, lambda raw: shift(said(raw)[column]["found"], value))
    assert outcome_of(kind, read_attestation(*whole(boards)).statements[0]) == outcome
    assert broken(boards) == ([] if outcome == "equal" else ["MB904"])
    assert one.statements[0].outcome == "equal"


def test_equal_numbers_have_equal_intervals(boards: Path) -> None:
    attest("reproduced", [(entry(0), again(entry(0)))], boards, BEN)
    rewrite(boards, lambda raw: said(raw)["headline"]["found"].update(ci95=[0.0, 1.0]))
    assert broken(boards) == ["MB904"]


@pytest.mark.parametrize("date", ["2026-99-99", "2026-02-30", "2026-1-1", "٢٠٢٦-٠١-٠١", "2026-01-01\n"])
def test_a_date_is_a_day(boards: Path, date: str) -> None:
    with pytest.raises(UsageError, match="--date"):
        attest_ran([entry(0)], boards, Witness("Anna", "third-party", date))


def test_a_damaged_attestation_is_told_and_stops_the_board(boards: Path) -> None:
    attest_ran([entry(0)], boards, ANNA)
    [path] = boards.rglob("attestations/*.json")
    path.write_text(path.read_text()[:-20])
    assert broken(boards) == ["MB901"]
    with pytest.raises(MibenchError, match="is no attestation"):
        load_board(boards)


def test_an_attestation_of_another_protocol_is_refused(boards: Path) -> None:
    attest_ran([entry(0)], boards, ANNA)
    rewrite(boards, lambda raw: raw.update(protocol_digest="0" * 64))
    assert broken(boards) == ["MB902"]


def test_a_link_out_of_the_board_is_refused(boards: Path, tmp_path: Path) -> None:
    attest_ran([entry(0)], boards, ANNA)
    [path] = boards.rglob("attestations/*.json")
    path.rename(tmp_path / "away.json")
    path.symlink_to(tmp_path / "away.json")
    with pytest.raises(UsageError, match="is a link"):
        load_board(boards)


def test_text_of_a_statement_is_one_plain_line(boards: Path) -> None:
    for name in ("", "two\nlines", "x" * 201):
        with pytest.raises(UsageError, match="--by"):
            attest_ran([entry(0)], boards, Witness(name, "third-party", "2026-11-29"))
    with pytest.raises(UsageError, match=r"there is no board of tiny@1\.0"):
        attest_ran([entry(0)], boards.parent, ANNA)
    assert BoardFolder(boards, "tiny", "1.0").path.is_dir()
