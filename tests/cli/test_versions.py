"""The commands around versions: `leaderboard migrate`, `leaderboard migrate-records`, `store migrate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_plugin.steps
import pytest
from record_factory import PROTOCOL_TEXT, make_record
from store_factory import node, put

from mibench.base.canonical import digest
from mibench.leaderboard import add_records, load_board, to_csv
from mibench.leaderboard.layout import BoardFolder
from mibench.results import migrations
from mibench.results.io import load_record, save_record
from mibench.results.migrations import NOT_COMPARED, Step
from mibench.store.store import Store


@pytest.fixture()
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry = fake_plugin.steps.registry()
    monkeypatch.setattr("mibench.registry.registry.load_registry", lambda: registry)
    monkeypatch.setenv("MIBENCH_STORE", str(tmp_path / "store"))


@pytest.fixture()
def boards(toy_run: Any, tmp_path: Path) -> Path:
    toy_run(fake_plugin.steps.registry(), protocols=("steps@1.0",), seeds=(3,), publish=tmp_path / "boards")
    return tmp_path / "boards"


@pytest.mark.usefixtures("installed")
def test_migrate_says_what_becomes_of_each_entry(mibench, boards):
    done = mibench("leaderboard", "migrate", "steps@1.1", "--board", str(boards), "--dry-run")
    assert (done.code, "nothing was written" in done.err) == (0, True)
    assert not (boards / "steps/1.1").exists()
    done = mibench("leaderboard", "migrate", "steps@1.1", "--board", str(boards))
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "steps@1.0 to steps@1.1: cosmetic. a third seed"
    assert lines[1].startswith("differs   summary (cosmetic: milliseconds, for tests before")
    assert "seeds (cosmetic: [3, 4] before, [3, 4, 5] now)" in lines[1]
    assert lines[2:] == ["carried   1 entries"]
    assert mibench("leaderboard", "check", "--from", str(boards)).code == 0
    done = mibench("leaderboard", "migrate", "steps@1.2", "--board", str(boards))
    assert done.code == 0
    assert "mibench leaderboard regrade BUNDLE --protocol steps@1.2" in done.out
    assert "there is nothing to migrate" in mibench("leaderboard", "migrate", "steps", "--board", str(boards)).err


@pytest.mark.usefixtures("installed")
def test_migrate_refuses_what_it_is_not_for(mibench, boards, tmp_path):
    common = ("--board", str(boards))
    assert "says what" not in mibench("leaderboard", "migrate", "steps@1.0", *common).err
    told = mibench("leaderboard", "migrate", "steps@1.0", *common)
    assert (told.code, "does not say what it follows" in told.err) == (2, True)
    told = mibench("leaderboard", "migrate", "steps@1.2", "--from", "steps@1.0", *common)
    assert "steps@1.2 follows steps@1.1, not steps@1.0" in told.err
    assert "give its name@version" in mibench("leaderboard", "migrate", "mine.yaml", *common).err.lower()


def weathered(record: dict[str, Any]) -> dict[str, Any]:
    plain = {**record, "schema_version": 0, "weather": "rain"}
    return {**plain, "digest": digest({name: value for name, value in plain.items() if name not in NOT_COMPARED})}


def dried(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name != "weather"}


@pytest.mark.parametrize("loses", ["", "the weather"])
def test_records_of_an_older_form_are_rewritten_once(mibench, tmp_path, monkeypatch, loses):
    boards = tmp_path / "boards"
    [entry] = add_records([save_record(make_record(), tmp_path / "run")], boards, {"tiny@1.0": PROTOCOL_TEXT})
    table = (boards / "tiny/1.0/board.csv").read_text()
    entry.write_text(json.dumps(weathered(json.loads(entry.read_text()))))
    old = entry.read_bytes()
    monkeypatch.setitem(migrations.STEPS, 0, Step(dried, loses=loses))
    told = mibench("leaderboard", "show", "tiny", "--from", str(boards))
    assert (told.code, "migrate-records" in told.err) == ((1, True) if loses else (0, False))
    assert mibench("leaderboard", "migrate-records", str(boards), "--dry-run").code == 0
    assert entry.read_bytes() == old
    done = mibench("leaderboard", "migrate-records", str(boards))
    assert done.code == 0
    assert "0 to 1" in done.out
    assert done.out.splitlines()[-1] == "checked   1 files: 1 older, 0 of schema version 1"
    kept = entry.with_name(f"{entry.name}.schema-0")
    assert (kept.read_bytes() if loses else kept.exists()) == (old if loses else False)
    assert load_record(entry).origins[0].digest == json.loads(old)["digest"]
    assert (boards / "tiny/1.0/board.csv").read_text() == table == to_csv(load_board(boards))
    before = entry.read_bytes()
    assert "0 older, 1 of schema version 1" in mibench("leaderboard", "migrate-records", str(entry)).out
    assert entry.read_bytes() == before
    assert list(BoardFolder(boards, "tiny", "1.0").records())


def test_a_file_that_is_no_record_is_named_and_left(mibench, tmp_path):
    (tmp_path / "cut.json").write_text("{")
    done = mibench("leaderboard", "migrate-records", str(tmp_path))
    assert done.code == 1
    assert "cut.json is not JSON" in done.out


def test_a_store_of_this_layout_has_nothing_to_do(mibench, tmp_path):
    put(Store(tmp_path / "store"), node())
    done = mibench("store", "migrate", "--store", str(tmp_path / "store"))
    assert (done.code, done.out.endswith("has layout 1, the newest: nothing to do\n")) == (0, True)


def test_doctor_and_migrate_say_what_a_newer_layout_is(mibench, tmp_path):
    store = Store(tmp_path / "store")
    (store.root / "layout.json").write_text('{"layout": 9}')
    for asked in (("store", "migrate"), ("run", "--dry-run", "--protocol", "smoke")):
        done = mibench(*asked, "--store", str(store.root))
        assert (done.code, "has layout 9, and this mibench knows layouts up to 1" in done.err) == (1, True)
    assert "fix store: the store" in mibench("doctor", "--store", str(store.root)).out


def test_what_is_no_store_is_refused(mibench, tmp_path):
    done = mibench("store", "migrate", "--store", str(tmp_path / "gone"))
    assert (done.code, "is no store" in done.err) == (1, True)
    assert not (tmp_path / "gone").exists()
