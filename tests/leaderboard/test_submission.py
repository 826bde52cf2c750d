"""Submissions: what continuous integration would refuse, what is missing, what the row would be, and the files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record, protocol_text

from mibench.api.errors import UsageError
from mibench.leaderboard import add_records, load_board, verify
from mibench.leaderboard.folder import write_folder
from mibench.leaderboard.gaps import commands
from mibench.leaderboard.pull_request import Place, pull_request, title, unpublished
from mibench.leaderboard.submission import Submission, prepare
from mibench.results.io import save_record
from mibench.results.record import Record

SUITE = protocol_text() + "suite: [ppa, gmi]\n"
TEXTS = {"tiny@1.0": PROTOCOL_TEXT}
SEEDS = (0, 1, 2)


def saved(folder: Path, records: Iterable[Record]) -> list[Path]:
    return [save_record(record, folder) for record in records]


def with_seeds(defense: str, attack: str = "ppa", seeds: Iterable[int] = SEEDS, **settings: object) -> list[Record]:
    return [make_record(defense=defense, attack=attack, seed=seed, **settings) for seed in seeds]  # type: ignore[arg-type]


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    """Return a board that has the undefended row and one defense."""
    folder = tmp_path / "boards"
    add_records(saved(tmp_path / "old", [*with_seeds("none"), *with_seeds("atat", leakage=0.4)]), folder, TEXTS)
    return folder


def submitted(boards: Path, records: Iterable[Record], texts: dict[str, str] = TEXTS) -> Submission:
    return prepare(saved(boards.parent / "mine", records), boards, texts)


def test_a_whole_row_gives_the_files_that_add_would_write(boards: Path, tmp_path: Path) -> None:
    mine = with_seeds("mine", leakage=0.2)
    before = {path: path.read_bytes() for path in boards.rglob("*") if path.is_file()}
    made = submitted(boards, mine)
    assert {path: path.read_bytes() for path in boards.rglob("*") if path.is_file()} == before
    assert (made.refused, made.incomplete, made.present) == ((), False, 0)
    entries = add_records(saved(tmp_path / "again", mine), boards)
    paths = [*entries, boards / "tiny/1.0/board.csv"]
    assert made.files == {path.relative_to(boards).as_posix(): path.read_bytes() for path in paths}


def test_the_row_is_told_with_its_rank_and_what_it_moves(boards: Path) -> None:
    [board] = submitted(boards, with_seeds("mine", leakage=0.2)).boards
    after = {row.defense: row.rank for row in board.section.rows}
    old = {row.defense: row.rank for row in load_board(boards).rows}
    [row] = board.rows
    assert (row.row.defense, row.before, row.row.rank) == ("mine", None, after["mine"])
    assert row.row.difference
    assert row.row.difference.value == pytest.approx(0.2 - 0.6)
    assert set(board.moved) == {(name, old[name], after[name]) for name in old if old[name] != after[name]}
    assert board.moved


def test_a_board_that_does_not_exist_yet_comes_with_its_protocol(tmp_path: Path) -> None:
    made = prepare(saved(tmp_path / "mine", with_seeds("none")), tmp_path / "boards", TEXTS)
    assert made.files["tiny/1.0/protocol.yaml"] == PROTOCOL_TEXT.encode()
    assert not (tmp_path / "boards").exists()


def test_missing_seeds_are_told_with_the_command(boards: Path) -> None:
    made = submitted(boards, with_seeds("mine", seeds=[1]))
    [row] = made.boards[0].rows
    assert made.incomplete
    assert row.gaps == {"ppa": (0, 2)}
    assert commands(row.row, row.gaps) == [
        "mibench run --protocol tiny@1.0 --model smallcnn --defense mine --attack ppa --seed 0 --seed 2"
    ]


def test_the_suite_and_all_seeds_of_every_attack_are_owed_by_a_new_row(tmp_path: Path) -> None:
    texts = {"tiny@1.0": SUITE}
    mine = [*with_seeds("mine", text=SUITE), *with_seeds("mine", "vmi", [0], text=SUITE)]
    made = prepare(saved(tmp_path / "mine", mine), tmp_path / "boards", texts)
    [row] = made.boards[0].rows
    assert row.gaps == {"gmi": (0, 1, 2), "vmi": (1, 2)}
    assert [re.findall("--(?:attack|seed) ([^ ]+)", line) for line in commands(row.row, row.gaps)] == [
        ["vmi", "1", "2"], ["gmi", "0", "1", "2"]]  # fmt: skip


def test_a_new_row_without_any_listed_attack_owes_those(boards: Path) -> None:
    [row] = submitted(boards, with_seeds("mine", "gmi")).boards[0].rows
    assert row.gaps == {"ppa": SEEDS}


def test_an_attack_on_a_published_row_owes_its_own_seeds_alone(tmp_path: Path) -> None:
    texts, folder = {"tiny@1.0": SUITE}, tmp_path / "boards"
    add_records(saved(tmp_path / "old", with_seeds("atat", seeds=[0], text=SUITE)), folder, texts)
    made = prepare(saved(tmp_path / "red", with_seeds("atat", "vmi", leakage=0.5, text=SUITE)), folder, texts)
    [row] = made.boards[0].rows
    assert (row.before is not None, row.gaps) == (True, {})
    assert title(made) == "tiny@1.0: more records of atat"


def test_what_a_board_would_refuse_is_refused_all_at_once(boards: Path, tmp_path: Path) -> None:
    records = [make_record(defense="mine", seed=77), make_record(leakage=0.1, key=make_record(leakage=0.4).cell.key)]
    paths = saved(tmp_path / "bad", records)
    (tmp_path / "bad/torn.json").write_text("{")
    made = prepare([*paths, tmp_path / "bad"], boards, TEXTS)
    found = {one.path.name: {finding.id for finding in one.findings} for one in made.refused}
    assert found == {paths[0].name: {"MB302"}, paths[1].name: {"MB203"}, "torn.json": {"MB100"}}
    assert (made.files, made.boards) == ({}, ())


def test_controls_that_the_board_has_from_another_machine_are_left_out(boards: Path) -> None:
    made = submitted(boards, [*with_seeds("none", leakage=0.59), *with_seeds("mine")])
    assert (len(made.left_out), made.refused) == (3, ())
    assert {record.cell.defense for record in made.records} == {"mine"}


def test_records_that_lie_on_the_board_already_tell_the_same_story(boards: Path) -> None:
    mine = with_seeds("mine", leakage=0.2)
    first = submitted(boards, mine)
    add_records(saved(boards.parent / "mine", mine), boards)
    second = submitted(boards, mine)
    assert (second.present, second.files) == (3, {})
    assert pull_request(second, {}) == pull_request(first, {})


def test_a_damaged_board_is_told_and_not_added_to(boards: Path) -> None:
    next(boards.rglob("entries/atat/*.json")).write_text("[]")
    with pytest.raises(Exception, match="JSON list"):
        submitted(boards, with_seeds("mine"))


PLACES = {"mibench-tests": Place("pip install mibench-tests==1.0", True, ("https://tests.example/",))}


def test_the_text_says_what_a_reviewer_asks(boards: Path) -> None:
    made = submitted(boards, with_seeds("mine", leakage=0.2))
    text = pull_request(made, PLACES)
    assert text.startswith("# tiny@1.0: add mine\n")
    assert "| defense mine v1 (mibench-tests 1.0)" in text
    assert "| pip install mibench-tests==1.0 | https://tests.example/ |" in text
    assert "torch 2.11.0" in text
    assert text.count("mibench run --defense mine --attack ppa") == 1
    assert "- [x] `mibench leaderboard check` passes" in text
    assert unpublished(made.records, PLACES) == []
    assert unpublished(made.records, {"mibench-tests": Place("a folder", False)}) == ["mibench-tests"]
    assert "a folder: PUBLISH IT" in pull_request(made, {"mibench-tests": Place("a folder", False)})


def test_flags_wait_for_an_answer(boards: Path) -> None:
    check = {"active": False, "reason": "its signal stayed off"}
    made = submitted(boards, with_seeds("mine", self_check=check))
    flagged = [flag.id for flag in made.boards[0].rows[0].flags]
    assert "defense-inactive" in flagged
    assert pull_request(made, PLACES).count("Answer: …") == len(flagged)


def test_nothing_in_a_record_becomes_markup(boards: Path) -> None:
    bad = "````\n<img src=x> [a](javascript:1) | `x` \u202e"
    made = submitted(boards, with_seeds("mine", command=f"mibench run {bad}", environment={"device": bad}))
    text = pull_request(made, {"mibench-tests": Place(bad, True, (bad,))})
    fence = re.search(r"\n(`{3,})\n(.*?)\n\1\n", text, re.S)
    assert fence
    assert len(fence[1]) == 5
    assert "mibench run ````" in fence[2]
    outside = text.replace(fence[0], "")
    assert not re.search(r"<img|(?<!\\)\[a\]|\u202e", outside)


def test_a_folder_is_written_again_and_never_over_other_things(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(out, {"tiny/1.0/board.csv": b"a", "tiny/1.0/entries/x/y.json": b"{}"}, "text")
    write_folder(out, {"tiny/1.0/board.csv": b"b"}, "text")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {"PULL_REQUEST.md", "submission.json", "leaderboards/tiny/1.0/board.csv"}
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="no submission"):
        write_folder(tmp_path / "full", {}, "text")
    (tmp_path / "full/submission.json").write_text('{"files": ["../out/PULL_REQUEST.md"]}')
    write_folder(tmp_path / "full", {}, "text")
    assert (out / "PULL_REQUEST.md").is_file()
    assert (tmp_path / "full/thesis.tex").is_file()


@pytest.mark.parametrize("files", ["5", "null", '"thesis.tex"', "[5]", '[["a"]]', '{"thesis.tex": 1}'])
def test_a_mark_that_lists_no_files_is_no_submission(tmp_path: Path, files: str) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "submission.json").write_text(f'{{"files": {files}}}')
    with pytest.raises(UsageError, match="no submission"):
        write_folder(tmp_path, {}, "text")
    assert (tmp_path / "thesis.tex").is_file()


def test_a_folder_that_a_mark_names_stays(tmp_path: Path) -> None:
    write_folder(tmp_path, {"tiny/1.0/board.csv": b"a"}, "text")
    (tmp_path / "submission.json").write_text('{"files": ["leaderboards", ".", "gone.txt", "PULL_REQUEST.md"]}')
    write_folder(tmp_path, {"tiny/1.0/board.csv": b"b"}, "text")
    assert (tmp_path / "leaderboards/tiny/1.0/board.csv").read_bytes() == b"b"


def test_copied_into_its_place_the_submission_passes_check(boards: Path) -> None:
    made = submitted(boards, with_seeds("mine"))
    for name, content in made.files.items():
        (boards / name).parent.mkdir(parents=True, exist_ok=True)
        (boards / name).write_bytes(content)
    assert [one for one in verify(boards) if one.findings] == []
