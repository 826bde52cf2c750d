"""Rows paired by person: against hand calculations, and the numbers that the pages quote against what it prints."""

import importlib.util
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record, metric

from mibench.api.errors import UsageError
from mibench.leaderboard import add_records, load_board
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.results.display import short
from mibench.results.io import save_record

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/argument.md", "docs/attacks.md", "docs/defenses.md", "docs/older-boards.md")


def load():
    spec = importlib.util.spec_from_file_location("paired_difference", ROOT / "scripts/paired_difference.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["paired_difference"] = module
    spec.loader.exec_module(module)
    return module


script = load()


def record(values, *, seed=0, defense="atat", **changes):
    made = make_record(defense=defense, seed=seed)
    measured = metric(0.5).model_copy(update={"per_class": list(values)})
    return made.model_copy(update={"metrics": {"reid@1": measured}, **changes})


def test_people_are_paired_and_common_seeds_averaged():
    one = [record([0.1, 0.4], seed=0), record([0.3, 0.8], seed=1), record([1.0, 1.0], seed=2)]
    other = [record([0.4, 0.4], seed=1), record([0.3, 0.6], seed=0)]
    gap = script.difference(one, other, "reid@1")  # person 1: (-.2 - .1) / 2 = -.15; person 2: (-.2 + .4) / 2 = .1
    assert gap.made.value == pytest.approx(-0.025)
    assert (gap.made.seeds, gap.made.people) == ((0, 1), 2)
    assert gap.exchange == 1.0  # ±.15 ±.1: no exchange of two people is closer to 0 than these


def test_the_interval_is_that_of_the_differences_and_not_of_the_rows():
    spread = [place / 40 for place in range(40)]
    gap = script.difference([record(spread)], [record([value + 0.05 for value in spread])], "reid@1")
    assert gap.made.value == pytest.approx(-0.05)
    assert gap.made.ci95 == pytest.approx((-0.05, -0.05))


def test_a_person_without_a_value_on_one_side_is_left_out():
    gap = script.difference([record([0.5, None, 0.25])], [record([0.25, 0.75, 0.5])], "reid@1")
    assert (gap.made.value, gap.made.people) == (0.0, 2)


def test_accuracy_has_the_sign_of_accuracy():
    up = metric(0.5, up=True)
    one, other = (
        record([0.5]).model_copy(update={"metrics": {"accuracy": value}}) for value in (up, metric(0.7, up=True))
    )
    gap = script.difference([one], [other], "accuracy")
    assert script._text(gap, up=True).startswith("-.200 [")


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ([record([0.1])], [record([0.1], seed=1)], "no seed in common"),
        ([record([0.1]), record([0.2])], [record([0.1])], "no single row"),
        ([record([0.1])], [record([0.1], classes={"0": 77})], "no person in common"),
        ([record([None])], [record([0.1])], "no person in common"),
        ([record([0.1])], [record([0.1], metrics={})], "reid@1 is no column of both"),
    ],
)
def test_what_cannot_be_paired_is_refused(one, other, words):
    with pytest.raises(UsageError, match=words):
        script.difference(one, other, "reid@1")


@pytest.mark.parametrize("than", ["undefended", "lookalike"])
def test_a_row_is_compared_with_a_control_of_its_own(than, monkeypatch, capsys):
    monkeypatch.setattr(BoardFolder, "records", records)
    monkeypatch.setattr(
        sys, "argv", ["paired_difference.py", "faces64", "--attack", "map", "--defense", "atat", "--than", than]
    )
    monkeypatch.chdir(ROOT)
    script.main()
    [board] = choose(ROOT / "leaderboards", "faces64")
    own = [one for _, one in records(board) if (one.cell.defense, one.cell.attack_label) == ("atat", "map")]
    kept = [one for one in own if one.components["defense"].params.get("direction", "default") == "default"]
    apart = [one.metrics["id_bits"].value - one.controls[than]["id_bits"].value for one in kept]
    assert len(apart) == 3
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("atat (direction=default)")]
    assert float(line.split()[4]) == pytest.approx(sum(apart) / 3, abs=6e-4)


def test_worst_cases_less_the_own_undefended_ones_are_those_of_the_board(monkeypatch, capsys):
    monkeypatch.setattr(BoardFolder, "records", records)
    monkeypatch.setattr(script, "sign_flip", lambda one, other: None)
    words = "paired_difference.py faces64 --attack map cma ppa --worst --than undefended --defense negls atat"
    monkeypatch.setattr(sys, "argv", words.split())
    monkeypatch.chdir(ROOT)
    script.main()
    printed = capsys.readouterr().out
    rows = [row for row in load_board(ROOT / "leaderboards", "faces64").rows if row.defense in ("atat", "negls")]
    assert len(rows) == 4
    for row in rows:
        low, high = row.difference.ci95
        assert f" {short(row.difference.value, 3)} [{short(low, 3)} {short(high, 3)}] " in printed


def test_two_settings_of_a_defense_are_compared_by_the_names_that_are_printed(monkeypatch, capsys):
    monkeypatch.setattr(BoardFolder, "records", records)
    monkeypatch.setattr(script, "sign_flip", lambda one, other: None)
    monkeypatch.chdir(ROOT)
    words = ["paired_difference.py", "faces64", "--attack", "map", "--defense", "atat (direction=none)", "--than"]
    monkeypatch.setattr(sys, "argv", [*words, "atat (direction=random)"])
    script.main()
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("atat")]
    values = {"none": [], "random": []}
    for _, record in records(choose(ROOT / "leaderboards", "faces64")[0]):
        direction = record.components["defense"].params.get("direction")
        if record.cell.defense == "atat" and record.cell.attack_label == "map" and direction:
            values[direction].append(record.metrics["id_bits"].value)
    expected = (sum(values["none"]) - sum(values["random"])) / 3
    assert float(line.split()[4]) == pytest.approx(expected, abs=6e-4)
    monkeypatch.setattr(sys, "argv", ["paired_difference.py", "faces64", "--attack", "map", "--than", "atat"])
    with pytest.raises(SystemExit):
        script.main()
    told = "atat is no single row; compare with one of: 'atat (direction=default)', 'atat (direction=none)', "
    assert told in capsys.readouterr().err


def test_people_of_one_fold_are_those_of_its_seeds(monkeypatch, capsys):
    monkeypatch.setattr(BoardFolder, "records", records)
    monkeypatch.chdir(ROOT)
    words = ["paired_difference.py", "orl64@2.2", "--defense", "tl-dmi", "--seed"]
    monkeypatch.setattr(sys, "argv", [*words, "1", "3", "5"])
    script.main()
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tl-dmi")]
    means = {"tl-dmi": [], "none": []}
    for _, record in records(choose(ROOT / "leaderboards", "orl64@2.2")[0]):
        if record.cell.attack_label == "ppa" and record.cell.defense in means and record.cell.seed % 2:
            means[record.cell.defense].append(record.metrics["id_bits"].value)
    assert float(line.split()[3]) == pytest.approx((sum(means["tl-dmi"]) - sum(means["none"])) / 3, abs=6e-4)
    assert line.split()[-2:] == ["3", "20"]
    monkeypatch.setattr(sys, "argv", [*words, "7"])
    with pytest.raises(SystemExit):
        script.main()
    assert "orl64@2.2 has no record of seed 7" in capsys.readouterr().err


def test_a_column_is_suggested(monkeypatch, capsys):
    monkeypatch.setattr(BoardFolder, "records", records)
    monkeypatch.setattr(sys, "argv", ["paired_difference.py", "faces64", "--attack", "map", "--metric", "id_bit"])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        script.main()
    assert "id_bit is no column of both. Did you mean 'id_bits'? They have: accuracy, " in capsys.readouterr().err


def test_a_damaged_entry_is_named(monkeypatch, capsys, tmp_path):
    [entry] = add_records([save_record(make_record(), tmp_path / "run")], tmp_path, {"tiny@1.0": PROTOCOL_TEXT})
    entry.write_text("[]")
    monkeypatch.setattr(sys, "argv", ["paired_difference.py", "tiny", "--from", str(tmp_path)])
    with pytest.raises(SystemExit):
        script.main()
    assert f"error: {entry} holds a JSON list; expected an object" in capsys.readouterr().err


@cache
def records(board, read=BoardFolder.records):
    return tuple(read(board))


def commands(text):
    """Yield the arguments of every quoted command; a comment says what else it is run with."""
    for line, comment in re.findall(r"^python scripts/paired_difference.py ([^#\n]*)(?:#(.*))?$", text, re.MULTILINE):
        extra = re.search(r"--metric \S+", comment)
        for form in [line, f"{line} {extra[0]}"] if extra else [line]:
            boards = ("orl64@1.0", "rendered64") if "BOARD" in form or "rendered64" in comment else ()
            for board in boards or (None,):
                yield shlex.split(re.sub(r"BOARD|orl64@1\.0", board, form) if board else form)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_quotes_only_differences_that_its_commands_print(page, monkeypatch, capsys):
    monkeypatch.setattr(BoardFolder, "records", records)
    monkeypatch.setattr(script, "sign_flip", lambda one, other: None)  # slow, and no page quotes it
    monkeypatch.chdir(ROOT)
    text = (ROOT / page).read_text(encoding="utf-8")
    for arguments in commands(text):
        monkeypatch.setattr(sys, "argv", ["paired_difference.py", *arguments])
        script.main()
    printed = capsys.readouterr().out
    quoted = re.findall(r"(-?[.\d]+\d{3} \[-?[.\d]+\d{3}\s-?[.\d]+\d{3}\])", text)
    assert quoted
    assert [one for one in quoted if f" {' '.join(one.split())} " not in printed] == []
