"""Boards: worst case over attacks, mean over seeds, honest ranks, safe text."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_factory import PROTOCOL_TEXT, component, make_record, metric, protocol_text

from mibench.api.errors import UsageError
from mibench.leaderboard import add_records, load_board, to_csv, to_json, to_markdown, to_table
from mibench.leaderboard.board import Board, ProtocolBoard
from mibench.leaderboard.differences import smallest_seen
from mibench.leaderboard.ranks import rank
from mibench.leaderboard.row import Row
from mibench.leaderboard.rows import make_rows
from mibench.protocol.load import parse_protocol
from mibench.results.differences import Difference
from mibench.results.intervals import class_interval
from mibench.results.io import RecordError, save_record
from mibench.results.record import Record
from mibench.results.reports import SelfCheckReport

TEXTS = {
    "tiny@1.0": PROTOCOL_TEXT,
    "tiny@1.10": protocol_text(version="1.10"),
    "tiny@1.9": protocol_text(version="1.9"),
}

SMALL = protocol_text().replace("{name: ppa, params", "{name: ppa, preset: small, params")
LISTED = parse_protocol(SMALL).protocol


def board_of(folder: Path, *records: Record) -> Path:
    small = records[0].protocol.digest == parse_protocol(SMALL).digest
    texts = {**TEXTS, "tiny@1.0": SMALL} if small else TEXTS
    add_records([save_record(record, folder / "run") for record in records], folder / "boards", texts)
    return folder / "boards"


def test_leakage_is_the_worst_case_over_attacks_of_the_mean_over_seeds() -> None:
    records = [
        make_record(attack="weak", leakage=0.2),
        make_record(attack="mixed", leakage=0.9, seed=0),
        make_record(attack="mixed", leakage=0.1, seed=1),
        make_record(attack="strong", leakage=0.5, seed=0),
        make_record(attack="strong", leakage=0.7, seed=1),
    ]
    [row] = make_rows(records)
    assert row.worst_attack == "strong"
    assert row.leakage.value == pytest.approx(0.6)
    strong = [record.metrics["reid@1"].per_class for record in records[3:]]  # the best in every resample
    averages = [(one + other) / 2 for one, other in zip(*strong, strict=True)]  # type: ignore[operator]
    assert row.leakage.ci95 == pytest.approx(class_interval(averages))
    assert row.normalized == pytest.approx((0.6 - 0.1) / (0.9 - 0.1))
    assert (row.attacks, row.seeds, row.classes) == (("mixed", "strong", "weak"), (0, 1), 12)
    assert (row.floor, row.undefended, row.gold) == pytest.approx((0.1, 0.6, 0.9))
    assert {eps: made.value for eps, made in row.robust.items()} == pytest.approx({"0.5": 0.8, "2": 0.4})
    assert row.accuracy
    assert row.accuracy.value == pytest.approx(0.95)


def test_attack_accuracy_is_the_worst_over_attacks_and_evaluators() -> None:
    sharp = {"attack_acc@1/sharp": metric(0.75), "attack_acc@5/sharp": metric(0.8)}
    [row] = make_rows([make_record(attack="a", leakage=0.5), make_record(attack="b", leakage=0.1, metrics=sharp)])
    assert row.attack_accuracy
    assert row.attack_accuracy.value == pytest.approx(0.75)


def test_parameters_and_versions_keep_rows_apart() -> None:
    base = make_record()
    newer = component("defense", "atat", lam=0.08).model_copy(update={"version": "2"})
    rows = make_rows(
        [base, make_record(params={"lam": 0.2}), make_record(components={**base.components, "defense": newer})]
    )
    assert [row.note for row in rows] == ["lam=0.08, version 1", "lam=0.2, version 1", "lam=0.08, version 2"]
    assert make_rows([base])[0].note == ""
    for preset, note in (("paper", "preset paper"), ("tiny", ""), (None, "")):
        asked = base.components["defense"].model_copy(update={"preset": preset})
        one = base.model_copy(update={"components": {**base.components, "defense": asked}})
        assert make_rows([one])[0].note == note  # "tiny" is what the protocol has


def test_settings_of_an_attack_keep_its_means_apart() -> None:
    base = make_record(leakage=0.1)
    strong = make_record(
        leakage=0.5, seed=1, components={**base.components, "attack": component("attack", "ppa", steps=500)}
    )
    [row] = make_rows([base, strong])
    assert row.leakage.value == pytest.approx(0.5)


def attacked(
    preset: str | None, leakage: float, *, seed: int = 0, attack: str = "ppa", text: str = SMALL, **params: Any
) -> Record:
    """Return a record of an attack with a preset."""
    part = component("attack", attack, **({"steps": 5} | params)).model_copy(update={"preset": preset})
    refs = {**make_record().components, "attack": part}
    asked = attack if preset in (None, "small", "tiny") else f"{attack}/{preset}"
    return make_record(attack=asked, leakage=leakage, seed=seed, text=text, components=refs)


def test_presets_of_an_attack_are_attacks_of_their_own_in_one_row(tmp_path: Path) -> None:
    usual = [attacked("small", 0.2, seed=seed) for seed in (0, 1)]
    board = load_board(board_of(tmp_path, *usual, attacked("ce", 0.5, loss="ce"), attacked(None, 0.1, attack="rlb")))
    [row] = board.rows
    assert (row.attacks, row.worst_attack, row.rank, row.unranked) == (("ppa", "ppa/ce", "rlb"), "ppa/ce", 1, ())
    assert row.leakage.value == pytest.approx(0.5)
    assert row.seeds == (0,)
    [table] = to_table(board)
    assert [table.rows[0][table.columns.index(name)] for name in ("worst attack", "attacks")] == ["ppa/ce", "3"]
    [line] = csv.DictReader(io.StringIO(to_csv(board)))
    assert (line["worst_attack"], line["attacks"]) == ("ppa/ce", "ppa ppa/ce rlb")
    assert json.loads(to_json(board))["boards"][0]["rows"][0]["attacks"] == ["ppa", "ppa/ce", "rlb"]


def test_a_weak_variant_hides_no_strong_attack() -> None:
    [row] = make_rows([attacked("small", 0.5), attacked("smoke", 0.1, steps=1)], LISTED)
    assert (row.worst_attack, row.leakage.value) == ("ppa", pytest.approx(0.5))


@pytest.mark.parametrize("other", [attacked("smoke", 0.01, steps=1), attacked(None, 0.01, attack="prior-random")])
def test_a_row_without_any_listed_attack_has_no_rank(tmp_path: Path, other: Record) -> None:
    refs = {**attacked("small", 0.4).components, "defense": component("defense", "sound")}
    sound = make_record(defense="sound", leakage=0.4, text=SMALL, components=refs)
    first, last = load_board(board_of(tmp_path, other, sound)).rows
    assert (first.defense, first.rank) == ("sound", 1)
    assert (last.defense, last.rank, last.unranked) == ("atat", 0, ("no-listed-attack",))
    assert "run it against ppa" in last.flags[-1].text


def test_a_baseline_is_no_worst_case_but_has_a_row_of_its_own_if_asked_for(tmp_path: Path) -> None:
    nearest = attacked(None, 0.9, attack="nearest")
    part = nearest.components["attack"].model_copy(update={"baseline": True})
    nearest = make_record(attack="nearest", leakage=0.9, text=SMALL, components={**nearest.components, "attack": part})
    folder = board_of(tmp_path, attacked("small", 0.3), nearest)
    [row] = load_board(folder).rows
    assert (row.attacks, row.leakage.value) == (("ppa",), pytest.approx(0.3))
    each = load_board(folder, by_attack=True).rows
    assert [(row.worst_attack, row.leakage.value, row.rank) for row in each] == [
        ("ppa", pytest.approx(0.3), 0),
        ("nearest", pytest.approx(0.9), 0),
    ]


def test_a_row_that_met_fewer_attacks_says_so(tmp_path: Path) -> None:
    refs = {**attacked("small", 0.1).components, "defense": component("defense", "lucky")}
    lucky = make_record(defense="lucky", leakage=0.1, text=SMALL, components=refs)
    folder = board_of(tmp_path, attacked("small", 0.2), attacked("ce", 0.4, loss="ce"), lucky)
    flags = {row.defense: [flag.id for flag in row.flags] for row in load_board(folder).rows}
    assert flags == {"atat": [], "lucky": ["fewer-attacks"]}


def test_names_of_attacks_say_what_differs() -> None:
    newer = attacked("small", 0.3)
    part = newer.components["attack"].model_copy(update={"version": "2"})
    newer = newer.model_copy(update={"components": {**newer.components, "attack": part}})
    [row] = make_rows([attacked("small", 0.2), newer], LISTED)
    assert (row.attacks, row.unranked) == (("ppa (version 1)", "ppa (version 2)"), ())
    [row] = make_rows([attacked(None, 0.2, attack="rlb"), attacked(None, 0.3, attack="rlb", steps=9)])
    assert row.attacks == ("rlb (steps=5)", "rlb (steps=9)")
    [row] = make_rows([attacked("tiny", 0.2, attack="rlb"), attacked("other", 0.3, attack="rlb")])
    assert row.attacks == ("rlb", "rlb/other")


def test_flags_are_computed_again() -> None:
    record = make_record(self_check={"active": False}).model_copy(update={"flags": []})
    assert [flag.id for flag in make_rows([record])[0].flags] == ["defense-inactive"]


def test_an_attack_that_finds_nothing_marks_no_row_in_which_a_stronger_one_counts() -> None:
    weak = make_record(attack="weak", leakage=0.1)
    below = weak.controls["floor"]["reid@1"].model_copy(update={"value": 0.05})
    weak = weak.model_copy(update={"controls": {**weak.controls, "undefended": {"reid@1": below}}})
    strong = make_record(leakage=0.3)
    for records, flagged in (([weak], True), ([weak, strong], False)):
        [row] = make_rows(records)
        assert ("undefended-not-above-floor" in [flag.id for flag in row.flags]) == flagged


def test_larger_distances_rank_first() -> None:
    rows = make_rows(
        [
            make_record(defense=name, metrics={"reid@1": metric(value, up=True, unit="distance")})
            for name, value in (("near", 1.0), ("far", 5.0))
        ]
    )
    assert [row.defense for row in rank(rows)] == ["far", "near"]


def test_the_interval_of_a_distance_is_around_it() -> None:
    [row] = make_rows([make_record(metrics={"reid@1": metric(5.0, up=True, unit="distance")})])
    assert row.leakage.ci95 is not None
    low, high = row.leakage.ci95
    assert low <= row.leakage.value <= high


def test_protocols_are_chosen_by_name_and_version(tmp_path: Path) -> None:
    folder = board_of(tmp_path, *[make_record(text=text) for text in TEXTS.values()])
    assert [section.protocol for section in load_board(folder).sections] == ["tiny@1.0", "tiny@1.9", "tiny@1.10"]
    assert [section.protocol for section in load_board(folder, "tiny").sections] == ["tiny@1.10"]
    assert [section.protocol for section in load_board(folder, "tiny@1.9").sections] == ["tiny@1.9"]
    with pytest.raises(UsageError, match=r"Unknown leaderboard protocol 'tinny'. Did you mean"):
        load_board(folder, "tinny")


def test_no_board_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mibench leaderboard add"):
        load_board(tmp_path / "absent")


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    folder = board_of(tmp_path, make_record())
    entry = next(folder.rglob("entries/*/*.json"))
    entry.write_text("{")
    with pytest.raises(RecordError, match=entry.name):
        load_board(folder)


def test_all_forms_tell_the_same(tmp_path: Path) -> None:
    folder = board_of(tmp_path, make_record(), make_record(defense="none", params={}, leakage=0.6))
    board = load_board(folder)
    content = json.loads(to_json(board))["boards"][0]
    assert [(row["defense"], row["rank"]) for row in content["rows"]] == [("atat", 1), ("none", 2)]
    assert content["digest"] == board.sections[0].digest
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [float(row["leakage"]) for row in rows] == pytest.approx(
        [row["leakage"]["value"] for row in content["rows"]]
    )
    gaps = [row["difference"] and row["difference"]["value"] for row in content["rows"]]
    assert [float(row["difference"]) if row["difference"] else None for row in rows] == pytest.approx(gaps)
    assert gaps == [pytest.approx(-0.3), None]  # .3 against an undefended .6
    assert float(rows[0]["robust_acc@0.5"]) == 0.8
    [table] = to_table(board)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table.rows[0][:2] == ("1", "atat")
    assert table.rows[0][table.columns.index("seeds")] == "1 of 3"
    assert "floor .10, gold .90" in table.footer
    markdown = to_markdown(board)
    assert "| 1 | atat |" in markdown
    assert (folder / "tiny" / "1.0" / "board.csv").read_text() == to_csv(board)


def test_an_empty_section_is_shown(tmp_path: Path) -> None:
    folder = board_of(tmp_path, make_record())
    next(folder.rglob("entries/*/*.json")).unlink()
    board = load_board(folder)
    assert board.rows == ()
    assert to_table(board)[0].rows == ()
    assert to_csv(board) == "protocol\n"
    assert "no entries" in to_markdown(board)


def test_hostile_text_is_harmless(tmp_path: Path) -> None:
    hostile = "=cmd|' /C calc'!A0\x1b[31m\n| <script>alert(1)</script> |"
    folder = board_of(tmp_path, make_record(params={"note": hostile}), make_record(params={"note": "x"}))
    board = load_board(folder)
    text = " ".join(cell for table in to_table(board) for row in table.rows for cell in row)
    assert "\x1b" not in text
    assert "\n" not in text
    assert "<script" not in to_markdown(board)
    lines = {len(line.replace("\\|", "").split("|")) for line in to_markdown(board).splitlines() if line[:1] == "|"}
    assert len(lines) == 1
    cells = [cell for row in csv.reader(io.StringIO(to_csv(board))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]


def ranked(*records: Record) -> list[tuple[str, int]]:
    return [(row.defense, row.rank) for row in rank(make_rows(records))]


def test_what_is_no_result_of_a_working_defense_has_no_rank() -> None:
    inactive = make_record(defense="idle", leakage=0.05).model_copy(
        update={"self_check": SelfCheckReport(active=False)}
    )
    assert ranked(inactive, make_record(defense="works", leakage=0.3)) == [("works", 1), ("idle", 0)]


def test_a_black_box_defense_is_ranked_by_the_attacks_that_it_promised_to_stop() -> None:
    def attacked(attack: str, access: str, leakage: float) -> Record:
        refs = {
            "defense": component("defense", "veil").model_copy(update={"access": "black-box"}),
            "attack": component("attack", attack).model_copy(update={"access": access}),
        }
        return make_record(defense="veil", attack=attack, leakage=leakage, components=refs)

    white, scores = attacked("ppa", "white-box", 0.6), attacked("rlb", "scores", 0.2)
    assert ranked(white) == [("veil", 0)]
    [row] = rank(make_rows([white, scores]))
    assert (row.rank, row.worst_attack) == (1, "rlb")
    assert row.leakage.value == pytest.approx(0.2)


def test_rows_tell_whether_their_numbers_follow_from_their_classes() -> None:
    uneven = metric(0.4, group="robustness", up=True, n=23, eps=2 / 255).model_copy(update={"value": 0.401})
    bare = metric(0.6).model_copy(update={"per_class": [], "ci95": None})
    [sound] = make_rows([make_record()])
    [partly] = make_rows([make_record(metrics={"robust_acc@2": uneven, "attack_acc@1/net": bare})])
    assert sound.reported == ()
    assert partly.reported == ("attack accuracy", "robust accuracy")


def test_the_evidence_of_a_row_is_shown(tmp_path: Path) -> None:
    board = load_board(board_of(tmp_path, make_record()))
    [table] = to_table(board)
    assert table.rows[0][table.columns.index("values")] == "recomputed"
    assert table.rows[0][table.columns.index("evidence")] == "reported"
    assert json.loads(to_json(board))["boards"][0]["rows"][0]["reported"] == []
    assert "evidence" not in to_markdown(board)
    [row] = csv.DictReader(to_csv(board).splitlines())
    assert (row["evidence"], row["ran_by"]) == ("reported", "")


def test_a_headline_in_bits_is_shown_as_such(tmp_path: Path) -> None:
    bits = metric(7.7, unit="bits").model_copy(update={"details": {"among": 600, "chance": 1.44}})
    controls = {name: dict(values) for name, values in make_record().controls.items()}
    for name, value in (("gold", 8.5), ("floor", 5.6), ("undefended", 8.0)):
        controls[name]["reid@1"] = metric(value, unit="bits", n=24 if name == "gold" else 48)
    [row] = make_rows([make_record(metrics={"reid@1": bits}, controls=controls)])
    assert row.unit == "bits"
    assert row.normalized == pytest.approx(2.1 / 2.9)
    assert row.difference
    assert row.difference.value == pytest.approx(-0.3)
    text = to_table(Board((board_section(row),)))[0]
    assert text.columns[3] == "leakage (bits) ↓"
    assert text.rows[0][3].startswith("7.70 [7.6")
    assert text.rows[0][4].startswith("-.30 [-.30")
    assert text.footer.startswith("chance 1.44, floor 5.60, gold 8.50; leakage is")
    twin = replace(row, floor=5.2, gold=8.7)
    both = to_table(Board((replace(board_section(row), rows=(row, twin)),)))[0]
    assert both.footer.startswith("chance 1.44, floor 5.40, gold 8.60 (means of the rows' own); leakage is")
    biased = replace(row, difference=row.difference._replace(bias=-0.12))
    assert "bias of the maximum (at most .12)" in to_table(Board((board_section(biased),)))[0].footer
    assert "bias of the maximum, [95 %" in text.footer


def board_section(row: Row) -> ProtocolBoard:
    return ProtocolBoard("tiny@1.0", "0" * 64, "for tests", "id_bits", (0,), (), "none", None, (row,))


def test_an_attack_with_another_version_of_its_prior_is_another_attack(tmp_path: Path) -> None:
    """It has a place of its own on the board, and its records replace nobody's."""
    made = [make_record(seed=seed, leakage=0.6) for seed in (0, 1, 2)]
    newer = {**made[0].components, "prior": made[0].components["prior"].model_copy(update={"version": "2"})}
    records = [*made, make_record(seed=0, leakage=0.1, components=newer)]
    add_records([save_record(record, tmp_path / "run") for record in records], tmp_path / "boards", TEXTS)
    [row] = load_board(tmp_path / "boards").rows
    assert row.attacks == ("ppa (prior version 1)", "ppa (prior version 2)")
    assert (row.leakage.value, row.seeds) == (pytest.approx(0.6), (0, 1, 2))
    alone = load_board(tmp_path / "boards", by_attack=True).rows
    assert sorted((round(one.leakage.value, 3), one.seeds) for one in alone) == [(0.1, (0,)), (0.6, (0, 1, 2))]


def test_what_a_board_can_see_is_the_median_of_its_rows() -> None:
    sizes = (0.5, 0.8, None, 0.75, 0.6)
    found = [Difference(0.0, None, None, None, 0.0, size, 1, 20, (0,)) for size in sizes]
    assert smallest_seen([*found, None]) == pytest.approx(0.675)  # between .6 and .75
    assert smallest_seen([None]) is None
    three = Difference(0.0, None, None, None, 0.0, 0.4, 1, 20, (0, 1, 2))
    assert smallest_seen([*found, three]) == 0.4  # the others are of one seed


def test_a_board_says_what_it_can_see(tmp_path: Path) -> None:
    values: list[float | None] = [0.1, 0.5] * 6
    noisy = metric(0.3).model_copy(update={"per_class": values, "ci95": class_interval(values)})
    board = load_board(board_of(tmp_path, make_record(metrics={"reid@1": noisy})))
    [row] = board.rows
    assert row.difference
    assert row.difference.smallest
    assert board.sections[0].smallest == row.difference.smallest
    words = f"a difference to none of {row.difference.smallest:.2f}".replace("0.", ".")
    assert words in to_table(board)[0].footer
    assert json.loads(to_json(board))["boards"][0]["smallest_difference"] == row.difference.smallest
