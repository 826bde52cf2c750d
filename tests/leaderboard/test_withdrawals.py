"""Withdrawing entries: they move beside a notice, leave the ranking, and do not come back; nothing is lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record
from site_factory import cell, write_board

from mibench.api.errors import UsageError
from mibench.leaderboard import RefusedError, add_records, load_board, to_json, to_table, verify
from mibench.leaderboard.chosen import chosen_entries
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.slug import row_slug
from mibench.leaderboard.withdraw import withdraw
from mibench.results.io import RecordError, load_record, save_record

TEXTS = {"tiny@1.0": PROTOCOL_TEXT}
SAID = {"reason": "the seed was chosen", "by": "A. Referee", "date": "2026-11-29"}


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    records = [make_record(defense=name, seed=seed) for name in ("atat", "none") for seed in (0, 1)]
    add_records([save_record(record, tmp_path / "run") for record in records], tmp_path / "boards", TEXTS)
    return tmp_path / "boards"


def taken(boards: Path, *asked: str) -> Path:
    """Withdraw something and return the folder of the withdrawal."""
    [(board, entries)] = chosen_entries(asked, boards).items()
    return withdraw(boards, board, entries, **SAID).folder


def slug_of(boards: Path, defense: str) -> str:
    return next(row_slug(row) for row in load_board(boards).rows if row.defense == defense)


def violations(boards: Path) -> list[str]:
    return [finding.id for one in verify(boards) for finding in one.findings]


def test_a_row_goes_with_its_records_as_they_were(boards: Path) -> None:
    before = {path.name: path.read_bytes() for path in boards.rglob("entries/atat/*.json")}
    folder = taken(boards, slug_of(boards, "atat"))
    assert folder.parent == boards / "tiny/1.0/withdrawn"
    assert {path.name: path.read_bytes() for path in (folder / "entries/atat").iterdir()} == before
    notice = json.loads((folder / "notice.json").read_text(encoding="utf-8"))
    assert (notice["reason"], notice["by"], notice["date"]) == tuple(SAID.values())
    assert {one["file"].removeprefix("atat/") for one in notice["records"]} == set(before)
    assert not list((boards / "tiny/1.0/entries").rglob("*atat*.json"))
    table = csv.DictReader((boards / "tiny/1.0/board.csv").read_text(encoding="utf-8").splitlines())
    assert [row["defense"] for row in table] == ["none"]
    assert violations(boards) == []


def test_the_board_says_what_was_withdrawn(boards: Path) -> None:
    taken(boards, slug_of(boards, "atat"))
    board = load_board(boards)
    told = "withdrawn 2026-11-29: 2 records of atat, by A. Referee: the seed was chosen"
    assert to_table(board)[0].withdrawn == (told,)
    assert json.loads(to_json(board))["boards"][0]["withdrawn"][0]["reason"] == "the seed was chosen"


@pytest.mark.parametrize("way", ["orl64/{}", "tiny/1.0/rows/{}.html", "https://a.example/x/tiny/1.0/rows/{}.html",
                                 "tiny@1.0/{}", "{}"])  # fmt: skip
def test_rows_are_found_by_name_and_by_address(boards: Path, way: str) -> None:
    asked = way.format(slug_of(boards, "atat"))
    if way.startswith("orl64"):
        with pytest.raises(UsageError, match="Unknown row"):
            chosen_entries([asked], boards)
        return
    [(board, entries)] = chosen_entries([asked], boards).items()
    assert board.id == "tiny@1.0"
    assert {path.parent.name for path in entries} == {"atat"}
    assert len(entries) == 2


def test_one_record_goes_and_the_rest_of_its_row_stays(boards: Path) -> None:
    path = min(boards.rglob("entries/atat/*.json"))
    taken(boards, str(path))
    assert [row.seeds for row in load_board(boards).rows if row.defense == "atat"] == [(1,)]
    with pytest.raises(UsageError, match="is no entry of a board"):
        chosen_entries([str(path)], boards)


def test_what_was_withdrawn_does_not_come_back(boards: Path, tmp_path: Path) -> None:
    taken(boards, slug_of(boards, "atat"))
    again = make_record(seed=0, timings={"target": 99.0})
    inputs = make_record(seed=0, inputs={**again.inputs, "target": "ab" * 32}, key=again.cell.key)
    for record in (again, inputs):
        with pytest.raises(RefusedError, match=r"MB812 .*on 2026-11-29 by A\. Referee: the seed was chosen"):
            add_records([save_record(record, tmp_path / "again")], boards)


def test_corrected_numbers_of_the_same_cell_are_accepted_and_can_go_too(boards: Path, tmp_path: Path) -> None:
    first = taken(boards, slug_of(boards, "atat"))
    mended = make_record(seed=0, leakage=0.4, key=make_record(seed=0).cell.key)
    [entry] = add_records([save_record(mended, tmp_path / "mended")], boards)
    second = taken(boards, str(entry))
    assert first != second
    assert violations(boards) == []
    assert len(load_board(boards).sections[0].withdrawn) == 2


def test_the_last_row_of_a_board_can_go(boards: Path) -> None:
    taken(boards, slug_of(boards, "atat"), slug_of(boards, "none"))
    assert load_board(boards).rows == ()
    assert violations(boards) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"reason": " "}, "reason: .*expected words"), ({"by": ""}, "by: "), ({"date": "29.11.2026"}, "date: "),
     ({"date": "2026-02-31"}, "date: "), ({"reason": "x" * 2001}, "reason: ")],
)  # fmt: skip
def test_a_withdrawal_without_a_reason_is_refused_and_changes_nothing(
    boards: Path, changes: dict[str, str], told: str
) -> None:
    before = sorted(boards.rglob("*"))
    [(board, entries)] = chosen_entries([slug_of(boards, "atat")], boards).items()
    with pytest.raises(UsageError, match=told):
        withdraw(boards, board, entries, **{**SAID, **changes})
    assert sorted(boards.rglob("*")) == before


def test_check_finds_what_was_done_to_withdrawals(boards: Path) -> None:
    folder = taken(boards, slug_of(boards, "atat"))
    notice, record = folder / "notice.json", min((folder / "entries").rglob("*.json"))
    whole, text = notice.read_text(encoding="utf-8"), record.read_text(encoding="utf-8")
    notice.write_text(whole.replace("chosen", "bad"), encoding="utf-8")
    assert violations(boards) == ["MB810"]
    with pytest.raises(RecordError, match="was edited"):
        load_board(boards)
    notice.write_text("[]", encoding="utf-8")
    assert violations(boards) == ["MB810"]
    notice.write_text(whole, encoding="utf-8")
    record.write_text(text.replace('"n": 48', '"n": 49'), encoding="utf-8")
    assert violations(boards) == ["MB811"]
    record.unlink()
    assert violations(boards) == ["MB811"]
    record.write_text(text, encoding="utf-8")
    (record.parent / "more.json").write_text(text, encoding="utf-8")
    assert violations(boards) == ["MB811"]
    (record.parent / "more.json").unlink()
    home = boards / "tiny/1.0/entries/atat" / record.name
    home.parent.mkdir(exist_ok=True)
    home.write_text(text, encoding="utf-8")
    assert "MB812" in violations(boards)


def test_a_withdrawal_that_was_cut_off_is_ended_by_the_same_command(
    boards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(board, entries)] = chosen_entries([slug_of(boards, "atat")], boards).items()
    before = {path.read_bytes() for path in entries}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("the power went")))
        with pytest.raises(OSError, match="the power went"):
            withdraw(boards, board, entries, **SAID)
    assert all(path.is_file() for path in entries)
    folder = withdraw(boards, board, entries, **SAID).folder
    assert {path.read_bytes() for path in (folder / "entries").rglob("*.json")} == before
    assert violations(boards) == []


@pytest.fixture()
def taught(boards: Path, tmp_path: Path) -> Path:
    """Return boards with rows of the same model by name and the same defense: as it is, with a preset, and newer."""
    models = [{"preset": "imagenet", "params": {"pretrained": True}}, {"version": "2"}]
    for place, changes in enumerate(models):
        usual = make_record(defense="atat")
        parts = {**usual.components, "model": usual.components["model"].model_copy(update=changes)}
        record = make_record(defense="atat", leakage=0.5 + place / 10, components=parts)
        add_records([save_record(record, tmp_path / "taught")], boards)
    return boards


def test_a_row_is_named_by_the_settings_of_its_model_too(taught: Path) -> None:
    rows = {row.note: row for row in load_board(taught).rows if row.defense == "atat"}
    assert set(rows) == {
        "model pretrained=default, version 1",
        "model pretrained=True, version 1",
        "model pretrained=default, version 2",
    }
    names = [row_slug(row) for row in rows.values()]
    digest = rows["model pretrained=default, version 1"].params_digest
    assert f"smallcnn-atat-{digest}" in names
    assert len(set(names)) == 3
    for row in rows.values():
        [entries] = chosen_entries([row_slug(row)], taught).values()
        assert {load_record(path).digest for path in entries} == {record.digest for record in row.records}


def test_a_row_that_went_leaves_those_of_other_settings(taught: Path) -> None:
    row = next(row for row in load_board(taught).rows if row.note == "model pretrained=True, version 1")
    taken(taught, row_slug(row))
    assert [row.leakage.value for row in load_board(taught).rows if row.defense == "atat"] == [0.3, 0.6]
    assert violations(taught) == []


def test_a_name_that_several_rows_have_is_refused(boards: Path, tmp_path: Path) -> None:
    usual = make_record(defense="atat")
    parts = {**usual.components, "model": usual.components["model"].model_copy(update={"params": {"width": 9}})}
    add_records([save_record(make_record(defense="atat", leakage=0.5, components=parts), tmp_path / "other")], boards)
    with pytest.raises(UsageError, match=r"tiny@1\.0 has 2 rows smallcnn-atat-\w+; name the files of entries instead"):
        chosen_entries([slug_of(boards, "atat")], boards)


def cut_off(boards: Path, board: BoardFolder, entries: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Withdraw entries, and stop when the first is gone."""
    real, removed = Path.unlink, []

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path in entries:  # and no lock, which some releases of filelock unlink to let go of it
            if removed:
                raise KeyboardInterrupt
            removed.append(path)
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            withdraw(boards, board, entries, **SAID)
    assert [path.is_file() for path in sorted(entries)] == [False, True]


@pytest.mark.parametrize("way", ["call", "row", "files"])
def test_what_was_cut_off_between_two_entries_is_ended_too(
    boards: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    row = slug_of(boards, "atat")
    [(board, entries)] = chosen_entries([row], boards).items()
    before = {path.name: path.read_bytes() for path in entries}
    cut_off(boards, board, entries, monkeypatch)
    asked = {"row": [row], "files": [str(path) for path in entries]}
    left = chosen_entries(asked[way], boards)[board] if way in asked else entries
    folder = withdraw(boards, board, left, **SAID).folder
    assert {path.name: path.read_bytes() for path in (folder / "entries").rglob("*.json")} == before
    assert [path.name for path in (boards / "tiny/1.0/withdrawn").iterdir()] == [folder.name]
    assert not list((boards / "tiny/1.0/entries").rglob("*atat*.json"))
    assert violations(boards) == []


def test_what_is_gone_and_kept_nowhere_is_not_withdrawn(boards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [(board, entries)] = chosen_entries([slug_of(boards, "atat")], boards).items()
    cut_off(boards, board, entries, monkeypatch)
    for copy in (boards / "tiny/1.0/withdrawn").rglob(min(entries).name):
        copy.write_text(copy.read_text(encoding="utf-8").replace('"n": 48', '"n": 49'), encoding="utf-8")
    with pytest.raises(RecordError, match=min(entries).name):
        withdraw(boards, board, entries, **SAID)
    assert max(entries).is_file()


def test_a_cut_off_before_the_notice_leaves_nothing_to_see(boards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = slug_of(boards, "atat")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("the power went")))
        with pytest.raises(OSError, match="the power went"):
            taken(boards, row)
    assert violations(boards) == []
    taken(boards, row)
    assert len(list((boards / "tiny/1.0/withdrawn").iterdir())) == 1
    assert violations(boards) == []


def test_no_rank_counts_what_was_withdrawn(tmp_path: Path) -> None:
    cells = [cell(name, seed) for name in ("atat", "mid") for seed in (0, 1, 2)]
    boards = write_board(tmp_path / "boards", cells)
    assert [(row.defense, row.rank) for row in load_board(boards).rows] == [("atat", 1), ("mid", 2)]
    taken(boards, slug_of(boards, "atat"))
    assert [(row.defense, row.rank) for row in load_board(boards).rows] == [("mid", 1)]
    assert [board.id for board in choose(boards, None)] == ["tiny@1.0"]
