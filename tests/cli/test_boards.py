"""The commands around boards: check, rules, schema, build, serve's server, export."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record
from site_factory import records, write_board

from mibench.leaderboard import add_records
from mibench.results.io import save_record
from mibench.site.serve import server


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    root = tmp_path / "boards"
    add_records([save_record(make_record(), tmp_path / "run")], root, {"tiny@1.0": PROTOCOL_TEXT})
    return root


def test_check_tells_every_violation_as_json(mibench, boards, tmp_path):
    folder = tmp_path / "mine"
    save_record(make_record(seed=77, command=" "), folder)
    (folder / "note.json").write_text("[]")
    done = mibench("leaderboard", "check", str(folder), "--from", str(boards), "--json")
    assert done.code == 1
    told = json.loads(done.out)
    assert (told["checked"], told["refused"]) == (2, 2)
    assert {(one["rule"], one["field"]) for one in told["violations"]} == {
        ("MB100", "file"),
        ("MB302", "cell.seed"),
        ("MB701", "command"),
    }
    assert all(one["remedy"] and one["problem"] and one["file"].startswith(str(folder)) for one in told["violations"])


def test_check_takes_boards_by_name_and_by_folder(mibench, boards, monkeypatch):
    for asked in ([], ["tiny"], [str(boards)], [str(boards / "tiny/1.0")]):
        done = mibench("leaderboard", "check", *asked, "--from", str(boards))
        assert (done.code, done.out) == (0, "checked  2 files, 0 refused\n")
    monkeypatch.chdir(boards / "tiny/1.0")
    assert mibench("leaderboard", "check", ".", "--from", str(boards)).code == 0


def test_tables_are_made_again_where_they_are_out_of_date(mibench, boards):
    table = boards / "tiny/1.0/board.csv"
    whole = table.read_bytes()
    assert mibench("leaderboard", "tables", "--board", str(boards)).out == ""
    for damaged in (b"protocol\n", None):
        table.unlink() if damaged is None else table.write_bytes(damaged)
        told = mibench("leaderboard", "check", "tiny", "--from", str(boards))
        assert (told.code, "MB802" in told.out, "`mibench leaderboard tables tiny@1.0`" in told.out) == (1, True, True)
        done = mibench("leaderboard", "tables", "tiny@1.0", "--board", str(boards))
        assert (done.code, done.out) == (0, f"table    {table}\n")
        assert table.read_bytes() == whole
    assert "Unknown leaderboard protocol 'tyni'" in mibench("leaderboard", "tables", "tyni", "--board", str(boards)).err


def test_check_of_what_is_not_there_says_so(mibench, boards, tmp_path):
    done = mibench("leaderboard", "check", "gone/record.json", "--from", str(boards))
    assert done.code == 2
    assert "gone/record.json does not exist" in done.err
    (tmp_path / "empty").mkdir()
    assert "holds no record" in mibench("leaderboard", "check", str(tmp_path / "empty"), "--from", str(boards)).err
    assert "Unknown leaderboard protocol 'tyni'" in mibench("leaderboard", "check", "tyni", "--from", str(boards)).err


def test_a_protocol_that_nobody_ran_yet_is_told_from_one_that_does_not_exist(mibench, boards):
    told = mibench("leaderboard", "show", "smoke", "--from", str(boards)).err
    assert (
        f"smoke@1.0 has no entries in {boards} yet. The first row: mibench run --protocol smoke@1.0 --defense" in told
    )
    assert "Unknown leaderboard protocol 'tyni'" in mibench("leaderboard", "show", "tyni", "--from", str(boards)).err


def test_rules_are_told(mibench):
    assert "MB302  Seeds are the protocol's" in mibench("leaderboard", "rules").out
    assert mibench("leaderboard", "rules", "MB302").out.splitlines()[1].strip() == "breaks it: cell.seed is 7"
    found = json.loads(mibench("leaderboard", "rules", "--json").out)
    assert {"id", "sentence", "breaks", "keeps"} == set(found[0])
    assert "Unknown rule 'MB3O2'" in mibench("leaderboard", "rules", "MB3O2").err


def test_schema_is_json(mibench):
    assert json.loads(mibench("leaderboard", "schema").out)["$id"] == "urn:mibench:record:1"


def test_build_and_export_write_what_they_say(mibench, tmp_path):
    root, out = write_board(tmp_path / "boards", records()), tmp_path / "out"
    common = ("--from", str(root), "--date", "2026-01-01")
    done = mibench("leaderboard", "build", "--out", str(out), *common)
    assert done.code == 0
    assert f"{len([path for path in out.rglob('*') if path.is_file()])} files" in done.out
    for form in ("cells", "bibtex", "every-eval-ever", "croissant"):
        assert mibench("leaderboard", "export", "--to", form, "--out", str(tmp_path / form), *common).code == 0
    assert (tmp_path / "cells/tiny/1.0/cells.csv").read_bytes() == (out / "tiny/1.0/cells.csv").read_bytes()
    refused = mibench("leaderboard", "export", "--to", "huggingface", "--out", str(tmp_path / "hf"), *common)
    assert refused.code == 2
    assert "--dataset organization/name" in refused.err
    assert (
        "YYYY-MM-DD" in mibench("leaderboard", "build", "--out", str(out), "--from", str(root), "--date", "1.1.26").err
    )
    assert "https://" in mibench("leaderboard", "build", "--out", str(out), "--url", "javascript:1", *common).err


def test_the_server_answers_this_machine_with_files_alone(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("hello")
    (tmp_path / "secret").write_text("no")
    with server(tmp_path / "site", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}/"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=10) as answer:
            assert answer.read() == b"hello"
        for outside in ("../secret", "%2e%2e/secret"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                opener.open(address + outside, timeout=10)
        assert running.server_address[0] == "127.0.0.1"
        running.shutdown()
