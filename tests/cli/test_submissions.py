"""The commands around pull requests: submit, withdraw, check --against, and what show says of withdrawals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record

from mibench.leaderboard import add_records
from mibench.results.io import save_record


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    root = tmp_path / "boards"
    records = [make_record(defense=name, seed=seed) for name in ("none", "atat") for seed in (0, 1, 2)]
    add_records([save_record(record, tmp_path / "old") for record in records], root, {"tiny@1.0": PROTOCOL_TEXT})
    return root


@pytest.fixture()
def run(tmp_path: Path) -> Path:
    """Return the folder of a run of three seeds."""
    for seed in (0, 1, 2):
        save_record(make_record(defense="mine", seed=seed, leakage=0.2), tmp_path / "run/records")
    return tmp_path / "run"


def test_submit_writes_a_folder_and_says_what_to_do(mibench, boards, run, tmp_path):
    out = tmp_path / "out"
    told = mibench("leaderboard", "submit", str(run), "--to", str(boards), "--out", str(out))
    assert told.code == 0, told.err
    assert "mine" in told.out
    assert "plugin   mibench-tests: not installed here; publish it" in told.out
    assert f"cp -r {out}/leaderboards/. {boards}/" in told.out
    assert "--title 'tiny@1.0: add mine'" in told.out
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files[:2] == ["PULL_REQUEST.md", "leaderboards/tiny/1.0/board.csv"]
    assert len(files) == 3 + 3
    content = {name: (out / name).read_bytes() for name in files}
    assert mibench("leaderboard", "submit", str(run), "--to", str(boards), "--out", str(out)).code == 0
    assert {name: (out / name).read_bytes() for name in files} == content


def test_what_is_missing_stops_a_submission_unless_it_may_be_incomplete(mibench, boards, run, tmp_path):
    next((run / "records").glob("*-s1-*.json")).unlink()
    asked = ("leaderboard", "submit", str(run), "--to", str(boards), "--out", str(tmp_path / "out"))
    told = mibench(*asked)
    assert told.code == 1
    assert "missing  mine under ppa: seed 1\n" in told.out
    assert (
        "run      mibench run --protocol tiny@1.0 --model smallcnn --defense mine --attack ppa --seed 1\n" in told.out
    )
    assert not (tmp_path / "out").exists()
    document = json.loads(mibench(*asked, "--json").out)
    assert (document["ready"], document["boards"][0]["rows"][0]["missing"]) == (False, {"ppa": [1]})
    assert mibench(*asked, "--incomplete").code == 0
    assert "mine lacks ppa: seed 1" in (tmp_path / "out/PULL_REQUEST.md").read_text(encoding="utf-8")


def test_what_a_board_refuses_is_told_with_rule_and_remedy(mibench, boards, run, tmp_path):
    save_record(make_record(defense="mine", seed=7), run / "records")
    asked = ("leaderboard", "submit", str(run), "--to", str(boards), "--out", str(tmp_path / "out"))
    told = mibench(*asked)
    assert told.code == 1
    assert "MB302 cell.seed: expected one of the protocol's seeds 0, 1, 2, got 7" in told.out
    assert [one["rule"] for one in json.loads(mibench(*asked, "--json").out)["refused"]] == ["MB302"]
    assert not (tmp_path / "out").exists()


def test_submit_into_a_folder_of_something_else_is_refused(mibench, boards, run, tmp_path):
    told = mibench("leaderboard", "submit", str(run), "--to", str(boards), "--out", str(tmp_path))
    assert told.code == 2
    assert "choose another folder with --out" in told.err


def test_withdraw_show_and_check_tell_one_story(mibench, boards, run, tmp_path):
    before = tmp_path / "before"
    mibench("leaderboard", "export", "--to", "cells", "--out", str(tmp_path / "x"), "--from", str(boards))
    for path in boards.rglob("*"):
        if path.is_file():
            (before / path.relative_to(boards)).parent.mkdir(parents=True, exist_ok=True)
            (before / path.relative_to(boards)).write_bytes(path.read_bytes())
    [entry, *_] = sorted(boards.rglob("entries/atat/*.json"))
    common = ("--from", str(boards), "--date", "2026-11-29", "--by", "A. Referee")
    assert mibench("leaderboard", "withdraw", str(entry), *common).code == 2
    told = mibench("leaderboard", "withdraw", str(entry), "--reason", "its data were wrong", *common)
    assert told.code == 0, told.err
    assert "withdrawn 1 record of tiny@1.0" in told.out
    shown = mibench("leaderboard", "show", "--from", str(boards)).out
    assert "withdrawn 2026-11-29: 1 record of atat, by A. Referee: its data were wrong\n" in shown
    assert mibench("leaderboard", "check", "--from", str(boards), "--against", str(before)).code == 0
    again = mibench("leaderboard", "add", str(before / entry.relative_to(boards)), "--to", str(boards))
    assert again.code != 0
    assert "MB812" in again.err
    min(boards.rglob("entries/none/*.json")).unlink()
    checked = mibench("leaderboard", "check", "--from", str(boards), "--against", str(before))
    assert checked.code == 1
    assert "MB820" in checked.out
    assert "mibench leaderboard withdraw" in checked.out


def test_a_row_that_no_board_has_is_told_with_those_that_there_are(mibench, boards):
    told = mibench("leaderboard", "withdraw", "tiny@1.0/nobody", "--reason", "x", "--by", "y", "--from", str(boards))
    assert told.code == 2
    assert "Unknown row 'nobody'" in told.err
    assert "smallcnn-atat-" in told.err
