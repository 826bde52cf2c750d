"""Folders of boards: files of other programs are passed over, links and copies are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record

from mibench.api.errors import MibenchError, UsageError
from mibench.leaderboard import add_records, load_board, verify
from mibench.leaderboard.table_file import refresh_tables
from mibench.results.io import RecordError, save_record
from mibench.results.record import Record

TEXTS = {"tiny@1.0": PROTOCOL_TEXT}
LITTER = [".DS_Store", "._record.json", ".#record.json", "Thumbs.db", ".nfs0001.json", "record.json~", "#record.json#"]


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    add_records([save_record(make_record(), tmp_path / "run")], tmp_path / "boards", TEXTS)
    return tmp_path / "boards"


def only_entry(boards: Path) -> Path:
    [path] = (boards / "tiny" / "1.0" / "entries" / "atat").glob("*.json")
    return path


@pytest.mark.parametrize("name", LITTER)
def test_files_that_other_systems_leave_are_passed_over(boards: Path, name: str) -> None:
    before, own = load_board(boards), only_entry(boards)
    for folder in [*own.parents][:5]:
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    (boards / "tiny" / "1.0" / "entries" / ".Trash").mkdir()
    (boards / "tiny" / "1.0" / "entries" / ".Trash" / "x.json").write_bytes(b"\x00")
    assert load_board(boards) == before
    assert [list(one.findings) for one in verify(boards)] == [[], []]
    add_records([own], boards)


def test_a_copy_under_another_name_is_refused(boards: Path) -> None:
    own = only_entry(boards)
    copy = own.with_name(own.stem + " 2.json")
    copy.write_bytes(own.read_bytes())
    with pytest.raises(
        RecordError, match=rf"{copy.name} holds the record that belongs into .*{own.name}; move it there"
    ):
        load_board(boards)


@pytest.mark.parametrize(
    "place",
    [
        lambda boards: boards / "tiny",
        lambda boards: boards / "tiny" / "1.0",
        lambda boards: boards / "tiny" / "1.0" / "entries",
        lambda boards: only_entry(boards).parent,
        only_entry,
        lambda boards: boards / "tiny" / "1.0" / "protocol.yaml",
    ],
)
def test_links_are_refused(boards: Path, tmp_path: Path, place: Callable[[Path], Path]) -> None:
    linked = place(boards)
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    record = save_record(make_record(seed=1), tmp_path / "run")
    with pytest.raises(UsageError, match="is a link; a board's folders and files are its own"):
        load_board(boards)
    with pytest.raises(MibenchError, match="is a link"):
        add_records([record], boards, TEXTS)
    assert not list((tmp_path / "elsewhere").rglob("*-s1-*"))


def test_the_leaderboards_folder_itself_may_be_a_link(boards: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(boards)
    assert len(load_board(tmp_path / "link").rows) == 1


def test_a_folder_without_a_record_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        add_records([tmp_path / "absent.json"], tmp_path / "boards", TEXTS)
    assert not (tmp_path / "boards").exists()


def test_verify_finds_entries_that_came_past_the_door(boards: Path) -> None:
    edited = make_record(seed=1, self_check={})
    folder = only_entry(boards).parent
    save_record(edited, folder)
    save_record(make_record(key="ab" * 32), folder)
    (boards / "tiny" / "1.0" / "board.csv").write_text("protocol\n")
    found = {one.path.name: one.findings for one in verify(boards) if one.findings}
    assert sorted(finding.id for one in found.values() for finding in one) == ["MB109", "MB801", "MB802"]
    assert found["board.csv"][0].id == "MB802"


def of_copy(digest: str, seed: int) -> Record:
    made = make_record(seed=seed)
    dataset = made.components["dataset"].model_copy(update={"params": {"copy": digest}})
    return make_record(seed=seed, components={**made.components, "dataset": dataset})


def test_rows_of_one_board_are_of_one_copy_of_the_dataset(tmp_path: Path) -> None:
    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    boards = tmp_path / "boards"
    add_records([save_record(of_copy(one, 0), tmp_path / "a")], boards, TEXTS)
    add_records([save_record(of_copy(one, 1), tmp_path / "b")], boards, TEXTS)
    told = r"MB803 components.dataset.params.copy: expected sha256:1{12}, .* got sha256:2{12}"
    with pytest.raises(MibenchError, match=told):
        add_records([save_record(of_copy(other, 2), tmp_path / "c")], boards, TEXTS)
    with pytest.raises(MibenchError, match="MB803"):
        add_records([save_record(make_record(seed=2), tmp_path / "d")], boards, TEXTS)
    save_record(of_copy(other, 2), only_entry_folder(boards))
    assert any(finding.id == "MB803" for one in verify(boards) for finding in one.findings)


def only_entry_folder(boards: Path) -> Path:
    return boards / "tiny" / "1.0" / "entries" / "atat"


def test_a_table_that_is_no_text_is_out_of_date(boards: Path) -> None:
    table = boards / "tiny" / "1.0" / "board.csv"
    table.write_bytes(b"\xff" + table.read_bytes())
    [_, found] = verify(boards)
    assert [finding.id for finding in found.findings] == ["MB802"]
    assert refresh_tables(boards) == [table]
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))  # as Git may check it out
    assert refresh_tables(boards) == []


def test_a_frozen_protocol_that_is_no_text_is_named(boards: Path) -> None:
    (boards / "tiny" / "1.0" / "protocol.yaml").write_bytes(b"name: t\xefny\n")
    with pytest.raises(UsageError, match=r"Cannot read the frozen protocol .*protocol\.yaml: line 1 is not UTF-8 text"):
        load_board(boards)


def test_a_folder_that_is_called_like_a_protocol_is_none(boards: Path) -> None:
    (boards / "other" / "1.0" / "protocol.yaml").mkdir(parents=True)
    assert [section.protocol for section in load_board(boards).sections] == ["tiny@1.0"]
    file = boards / "tiny" / "1.0" / "protocol.yaml"
    file.unlink()
    file.mkdir()
    with pytest.raises(UsageError, match="holds no leaderboard"):
        load_board(boards)
