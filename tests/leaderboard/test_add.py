"""Accepting records: all or none, and nothing published ever changes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, component, make_record, metric, protocol_text

from mibench.api.errors import MibenchError
from mibench.leaderboard import RefusedError, add_records
from mibench.results.io import load_record, save_record, seal
from mibench.results.record import Record

TEXTS = {"tiny@1.0": PROTOCOL_TEXT}


def saved(folder: Path, *records: Record) -> list[Path]:
    return [save_record(record, folder / "run") for record in records]


def test_records_are_put_in_their_place(tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in (0, 1)]
    boards = tmp_path / "boards"
    entries = add_records(saved(tmp_path, *records), boards, TEXTS)
    home = boards / "tiny" / "1.0"
    assert [entry.parent for entry in entries] == [home / "entries" / "atat"] * 2
    assert [load_record(entry) for entry in entries] == records
    assert (home / "protocol.yaml").read_text() == PROTOCOL_TEXT
    rows = list(csv.DictReader((home / "board.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["defense"], row["seeds"]) for row in rows] == [("atat", "0 1")]


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    paths, boards = saved(tmp_path, make_record()), tmp_path / "boards"
    entries = add_records(paths, boards, TEXTS)
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in entries}
    again = [*saved(tmp_path, make_record(timings={"target": 99.0})), *paths]
    assert add_records(again, boards) == entries * 2
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in entries} == before
    assert not list(boards.rglob("*.tmp"))


def test_other_numbers_for_a_published_cell_are_refused(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    first = make_record()
    add_records(saved(tmp_path, first), boards, TEXTS)
    for rival in (make_record(leakage=0.2, key=first.cell.key), make_record(leakage=0.2)):
        with pytest.raises(RefusedError, match=r"MB203 .*reid@1 0\.3 there, 0\.2 here"):
            add_records(saved(tmp_path / "rival", rival), boards)


def test_rivals_within_one_call_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="MB203"):
        add_records(saved(tmp_path, make_record(), make_record(leakage=0.2)), tmp_path / "boards", TEXTS)


def test_one_bad_record_keeps_all_out(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    with pytest.raises(RefusedError, match="MB302"):
        add_records(saved(tmp_path, make_record(), make_record(seed=77)), boards, TEXTS)
    assert not list(boards.rglob("*.*son"))
    assert not list(boards.rglob("protocol.yaml"))


def test_other_parameters_and_versions_are_other_entries(tmp_path: Path) -> None:
    newer = component("defense", "atat", lam=0.08).model_copy(update={"version": "2"})
    base = make_record()
    records = [
        base,
        make_record(params={"lam": 0.2}),
        make_record(components={**base.components, "defense": newer}, key="ab" * 32),
    ]
    assert len(set(add_records(saved(tmp_path, *records), tmp_path / "boards", TEXTS))) == 3


def test_presets_of_an_attack_are_other_entries(tmp_path: Path) -> None:
    base, boards = make_record(), tmp_path / "boards"
    part = component("attack", "ppa", steps=5, loss="ce").model_copy(update={"preset": "ce"})
    variant = make_record(attack="ppa/ce", leakage=0.4, components={**base.components, "attack": part})
    entries = add_records(saved(tmp_path, base, variant), boards, TEXTS)
    assert [load_record(entry) for entry in entries] == [base, variant]
    assert len(set(entries)) == 2


def test_a_board_needs_its_protocol(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"MB300 protocol: tiny@1\.0 has no frozen protocol"):
        add_records(saved(tmp_path, make_record()), tmp_path / "boards")


def test_the_frozen_protocol_outranks_the_given_one(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    add_records(saved(tmp_path, make_record()), boards, TEXTS)
    changed = protocol_text(summary="something else")
    with pytest.raises(RefusedError, match="MB301"):
        add_records(saved(tmp_path, make_record(seed=1, text=changed)), boards, {"tiny@1.0": changed})
    assert (boards / "tiny" / "1.0" / "protocol.yaml").read_text() == PROTOCOL_TEXT


@pytest.mark.parametrize("name", ["../escape", "UPPER", "", "a/b", "."])
def test_hostile_names_do_not_reach_the_disk(tmp_path: Path, name: str) -> None:
    record = make_record(defense=name)
    with pytest.raises(RefusedError, match="MB103"):
        add_records(saved(tmp_path, record), tmp_path / "boards", TEXTS)
    protocol = record.protocol.model_copy(update={"name": name})
    hostile = seal(record.model_copy(update={"protocol": protocol}))
    with pytest.raises(MibenchError, match="not a protocol"):
        add_records(saved(tmp_path, hostile), tmp_path / "boards", TEXTS)
    assert not list((tmp_path / "boards").rglob("*.json"))


def test_edited_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, make_record())[0]
    path.write_text(path.read_text().replace('"n": 48', '"n": 49'))
    with pytest.raises(RefusedError, match="MB201"):
        add_records([path], tmp_path / "boards", TEXTS)


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    record = make_record(metrics={"x\x1b[31m": metric(0.5).model_copy(update={"value": 3.0})})
    with pytest.raises(RefusedError) as caught:
        add_records(saved(tmp_path, record), tmp_path / "boards", TEXTS)
    assert "\x1b" not in str(caught.value)
