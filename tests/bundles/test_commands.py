"""What a user of ``mibench leaderboard bundle``, ``regrade`` and ``attest`` sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mibench.cli.main import main
from mibench.leaderboard import add_records, load_board

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture()
def call(world: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return ``call(*arguments)``, which runs ``mibench leaderboard`` with the toy plugin installed."""
    monkeypatch.setattr("mibench.registry.registry.load_registry", lambda: world.registry)

    def _call(*arguments: object) -> tuple[int, str, str]:
        code = main(["leaderboard", *map(str, arguments)])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out, told.err

    return _call


def test_pack_measure_again_and_say_so(call: Call, world: Any, tmp_path: Path) -> None:
    boards, mine = tmp_path / "boards", tmp_path / "mine.zip"
    add_records(world.paths, boards, {"toy@1.0": world.protocol.text})
    entries = sorted(boards.rglob("entries/*/*.json"))
    code, out, _ = call("bundle", *entries, "--store", tmp_path / "store", "--out", mine)
    assert code == 0
    assert "2 records, 2 targets, 3 sets of reconstructions, 1 judges, " in out
    place = ("--store", tmp_path / "elsewhere")
    code, out, _ = call("regrade", mine, *place, "-q", "--attest", "--by", "Ben", "--board", boards)
    assert code == 0
    assert out.count("columns  13: 13 equal; the record is the same to the last digit") == 2
    assert "note     the evaluator judge came with the bundle" in out
    assert "regraded 2 records: 2 hold, 0 do not" in out
    assert ": regraded by Ben, 2 records" in out
    assert {row.standing.words for row in load_board(boards).rows} == {"reported; regraded by Ben"}
    assert "reported; regraded by Ben" in call("show", "toy", "--from", boards)[1]
    assert call("check", "--from", boards)[:2] == (0, "checked  4 files, 0 refused\n")


def test_what_moved_is_told_and_written_beside(
    call: Call, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fake_plugin.parts import Light

    monkeypatch.setattr(Light, "measure", lambda self, evidence, ctx, plain=Light.measure: plain(
        Light(scale=3.0), evidence, ctx))  # fmt: skip
    place = ("--store", tmp_path / "elsewhere")
    code, out, _ = call("regrade", bundle, *place, "-q", "--out", tmp_path / "new")
    assert code == 1
    assert "columns  13: 9 equal, 4 moved" in out
    assert "regraded 2 records: 0 hold, 2 do not" in out
    assert len(list((tmp_path / "new").glob("*.json"))) == 2
    code, out, _ = call("regrade", bundle, *place, "-q", "--json")
    one = json.loads(out)["records"][0]
    [change] = [column for column in one["columns"] if column["column"] == "light"]
    assert change["found"] == pytest.approx(1.5 * change["published"])
    assert (one["held"], change["verdict"]) == (False, "moved")


def test_a_second_run_is_compared_with_the_entry(call: Call, world: Any, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    add_records(world.paths, boards, {"toy@1.0": world.protocol.text})
    entries = boards / "toy" / "1.0" / "entries"
    code, _, err = call("attest", *world.paths, "--by", "Ben", "--board", boards)
    assert code == 2
    assert "is the entry itself, down to its timings" in err
    assert call("attest", entries, "--ran", "--by", "Anna", "--as", "maintainers", "--board", boards)[0] == 0
    for path in world.paths:
        raw = json.loads(path.read_text())
        path.write_text(json.dumps({**raw, "timings": {"target": 7.0}}))
    code, _, err = call("attest", *world.paths, "--by", "Anna", "--board", boards)
    assert "MB905 by: expected somebody else than who ran the record" in err
    code, out, _ = call("attest", *world.paths, "--by", "Ben", "--board", boards)
    assert code == 0
    assert out.count("equal") == 2
    assert {row.standing.words for row in load_board(boards).rows} == {"reported by Anna; reproduced by Ben"}


def test_errors_are_sentences(call: Call, world: Any, bundle: Path, tmp_path: Path) -> None:
    assert "say it with --by" in call("regrade", bundle, "--attest")[2]
    (bundle / "README.txt").write_text("hello")
    code, _, err = call("regrade", bundle, "--store", tmp_path / "elsewhere", "-q")
    assert code == 1
    assert "README.txt is not what the manifest says (size or sha256); get the bundle again" in err
    assert "is no zip archive" in call("regrade", world.paths[0], "--store", tmp_path / "elsewhere", "-q")[2]
    code, _, err = call("bundle", world.paths[0], "--store", tmp_path / "nothing", "--out", tmp_path / "b.zip")
    assert code == 2
    assert world.records[0].command in err
