"""Boards of protocols with a suite of attacks: who is ranked, and what an incomplete row lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_factory import component, make_record, metric, protocol_text

from mibench.leaderboard import add_records, load_board, to_csv, to_json, to_markdown, to_table
from mibench.leaderboard.board import Board
from mibench.results.io import save_record
from mibench.results.record import Record

TEXT = protocol_text() + "suite: [ppa, cma]\nlookalike: {name: nearest}\n"


def cell(
    defense: str, attack: str, leakage: float, *, seed: int = 0, alike: float = 0.1, command: str = "", shift: float = 0
) -> Record:
    own = metric(leakage, unit="bits", n=48) if leakage > 1 else metric(leakage)
    made = make_record(defense=defense, attack=attack, seed=seed, text=TEXT, metrics={"reid@1": own})
    controls = {name: dict(values) for name, values in made.controls.items()}
    controls["lookalike"] = {**controls["floor"], "reid@1": metric(alike)}
    if defense == "none":
        controls["undefended"] = dict(controls["undefended"])
    changes = {"controls": controls, **({"command": command} if command else {})}
    return make_record(defense=defense, attack=attack, seed=seed, text=TEXT, metrics={"reid@1": own}, **changes)


def whole(defense: str, *leaks: float, attacks: tuple[str, ...] = ("ppa", "cma"), **more: float) -> list[Record]:
    return [
        cell(defense, attack, leak, seed=seed, **more)  # type: ignore[arg-type]
        for attack, leak in zip(attacks, leaks, strict=True)
        for seed in range(3)
    ]


def board(folder: Path, *records: Record) -> Board:
    paths = [save_record(record, folder / "run") for record in records]
    add_records(paths, folder / "boards", {"tiny@1.0": TEXT})
    return load_board(folder / "boards")


def test_a_complete_row_is_ranked_by_the_suite_and_shows_the_worst_found(tmp_path: Path) -> None:
    found = board(tmp_path, *whole("a", 0.2, 0.3), cell("a", "extra", 0.5))
    [row] = found.rows
    assert (row.rank, row.unranked, row.missing, row.complete_with) == (1, (), {}, "")
    assert (row.leakage.value, row.worst_attack) == (pytest.approx(0.3), "cma")
    assert row.worst_found
    assert (row.worst_found.leakage.value, row.worst_found.attack) == (pytest.approx(0.5), "extra")
    assert "fewer-attacks" not in [flag.id for flag in row.flags]
    [table] = to_table(found)
    assert table.rows[0][table.columns.index("worst found so far ↓")] == ".50 extra"
    assert "worst case over the required attacks (ppa, cma)" in table.footer
    assert "lookalike .10" in table.footer


def test_a_row_without_all_attacks_or_all_seeds_is_incomplete_and_says_what_completes_it(tmp_path: Path) -> None:
    asked = "--protocol tiny@1.0 --model smallcnn --defense b"
    command = f"mibench run {asked} --attack ppa --seed 1 --set b.lam=0.5 --set ppa.n=1"
    few = [cell("b", "ppa", 0.1, seed=seed, command=command) for seed in (0, 2)]
    found = board(tmp_path, *whole("a", 0.2, 0.3), *few)
    first, last = found.rows
    assert (first.defense, first.rank) == ("a", 1)
    assert (last.defense, last.rank, last.unranked) == ("b", 0, ("incomplete",))
    assert last.missing == {"ppa": (1,), "cma": (0, 1, 2)}
    expected = (
        "mibench run --protocol tiny@1.0 --model smallcnn --defense b --set b.lam=0.5 "
        "--attack ppa --attack cma --seed 0 --seed 1 --seed 2"
    )
    assert last.complete_with == expected
    ranked, incomplete = to_table(found)
    assert [row[1] for row in ranked.rows] == ["a"]
    assert incomplete.title.endswith("incomplete")
    assert incomplete.rows[0][incomplete.columns.index("missing")] == "ppa: seed 1; cma: seed 0, 1, 2"
    assert incomplete.commands == (expected,)
    assert expected in to_markdown(found)
    [entry] = [row for row in json.loads(to_json(found))["boards"][0]["rows"] if row["defense"] == "b"]
    assert (entry["rank"], entry["complete_with"], entry["missing"]["ppa"]) == (None, expected, [1])
    assert ",incomplete," in to_csv(found)


def test_a_hostile_command_completes_nothing(tmp_path: Path) -> None:
    [row] = board(tmp_path, cell("b", "ppa", 0.1, command="mibench --set 'b.lam=1; rm -rf ~' --defense '$(x)")).rows
    assert row.complete_with.startswith("mibench run --protocol tiny@1.0 --model smallcnn --defense b --attack ppa")
    [row] = board(tmp_path / "2", cell("b", "ppa", 0.1, command="mibench --set 'b.lam=1; rm -rf ~'")).rows
    assert " --set 'b.lam=1; rm -rf ~' " in row.complete_with  # quoted: one word, and no command


def test_a_black_box_defense_is_judged_by_the_part_of_the_suite_that_it_promised_to_stop(tmp_path: Path) -> None:
    def seen(attack: str, access: str, leakage: float, seed: int) -> Record:
        made = cell("veil", attack, leakage, seed=seed)
        refs = {
            **made.components,
            "defense": component("defense", "veil").model_copy(update={"access": "black-box"}),
            "attack": component("attack", attack, steps=5).model_copy(update={"access": access}),
        }
        return make_record(
            defense="veil",
            attack=attack,
            seed=seed,
            text=TEXT,
            leakage=leakage,
            components=refs,
            controls=made.controls,
        )

    records = [seen("ppa", "white-box", 0.6, seed) for seed in range(3)]
    records += [seen("cma", "scores", 0.2, seed) for seed in range(3)]
    [row] = board(tmp_path, *records).rows
    assert (row.rank, row.worst_attack, row.leakage.value) == (1, "cma", pytest.approx(0.2))


def test_a_row_that_no_attack_lifts_above_the_lookalikes_is_flagged(tmp_path: Path) -> None:
    rows = board(tmp_path, *whole("a", 0.2, 0.3, alike=0.3), *whole("b", 0.2, 0.4, alike=0.3)).rows
    flags = {row.defense: {flag.id: flag.text for flag in row.flags} for row in rows}
    assert "not-above-lookalike" in flags["a"]
    assert "not-above-lookalike" not in flags["b"]
    assert "(.00" in flags["a"]["not-above-lookalike"]


def test_each_attack_has_a_row_without_being_incomplete(tmp_path: Path) -> None:
    board(tmp_path, cell("a", "ppa", 0.2), cell("a", "cma", 0.3))
    rows = load_board(tmp_path / "boards", by_attack=True).rows
    assert [(row.worst_attack, row.unranked, row.missing) for row in rows] == [("ppa", (), {}), ("cma", (), {})]
