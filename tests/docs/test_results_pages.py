"""The tables of the results pages against the published records that they were made from."""

import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest

from mibench.leaderboard.layout import choose
from mibench.leaderboard.rows import make_rows
from mibench.protocol.load import load_protocol
from mibench.registry.registry import load_registry
from mibench.results.display import short, with_interval
from mibench.results.people import scores_of
from mibench.results.worst_case import max_interval

ROOT = Path(__file__).parents[2]
BOARDS = ("orl64", "rendered64")


@cache
def records(board, version="1.0"):
    return tuple(record for _, record in choose(ROOT / "leaderboards", f"{board}@{version}")[0].records())


@cache
def groups(board):
    """Records by defense with the protocol's own preset, and attack."""
    found = defaultdict(list)
    for record in records(board):
        if record.cell.model == "smallcnn" and record.components["defense"].preset in (board, "paper", None):
            found[record.cell.defense, record.cell.attack_label].append(record)
    return found


def mean(group, metric):
    return fmean(record.metrics[metric].value for record in group)


def leakage(group):
    return with_interval(mean(group, "reid@1"), max_interval(scores_of({"": group}, "reid@1")))


def tables(page, title):
    """Return the lines of the tables below a heading, as lists of cells without marks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.search(rf"^#+ {re.escape(title)}.*?\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE).group(1)
    lines = [line.strip("| ").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip("`* ").replace("\\", "") for cell in line] for line in lines]


@pytest.mark.parametrize("board", BOARDS)
def test_the_older_tables_of_attacks_are_those_of_the_records(board):
    lines = [
        line for line in tables("older-boards.md", f"{board}: the undefended target") if re.match(r"-?[.\d]", line[2])
    ]
    assert len(lines) == 24
    for name, _, leaks, reid5, accuracy, confidence, *_, seeds in lines:
        group = groups(board)["none", name]
        shown = [short(mean(group, metric)) for metric in ("reid@5", "attack_acc@1", "target_conf")]
        assert [leaks, reid5, accuracy, confidence, seeds] == [leakage(group), *shown, str(len(group))], name


@pytest.mark.parametrize("board", BOARDS)
def test_the_older_tables_of_the_worst_case_are_those_of_the_records(board):
    text = (ROOT / "docs/older-boards.md").read_text(encoding="utf-8").partition("### The worst case")[2]
    section = text.partition(f"**{board}**")[2].partition("**worst case")[0]
    lines = re.findall(r"^\| `([\w/-]+)` \| (\S+) \| (\S+) \| (\S+) \| (\d) \|$", section, re.MULTILINE)
    assert len(lines) == 17
    for attack, *values, seeds in lines:
        cells = [groups(board)[defense, attack] for defense in ("none", "negls", "atat")]
        assert values == [short(mean(group, "reid@1")) for group in cells], attack
        assert {len(group) for group in cells} == {int(seeds)}, attack


@pytest.mark.parametrize("board", BOARDS)
def test_the_older_tables_of_defenses_are_those_of_the_records(board):
    rows = make_rows([record for record in records(board) if record.cell.attack_label == "ppa"])
    numbers = {}
    for row in rows:
        name = f"{row.defense} ({row.note})" if row.note else row.defense
        shown = [with_interval(*row.leakage), short(row.attack_accuracy.value), short(row.normalized)]
        shown += [with_interval(*row.accuracy), *(short(made.value) for made in row.robust.values())]
        numbers[name, row.model] = shown
    lines = [line for line in tables("older-boards.md", f"{board}@1.0 (") if line[0] not in ("rank", "---")]
    assert {(line[1], line[2]): line[3:11] for line in lines} == numbers


@pytest.mark.parametrize(("board", "version"), [("faces64", "1.0"), ("orl64", "2.2")])
def test_the_tables_of_attacks_are_those_of_the_records(board, version):
    plain = [record for record in records(board, version) if record.cell.defense == "none"]
    made = {
        name: [one for one in plain if one.cell.attack_label == name] for name in {r.cell.attack_label for r in plain}
    }
    lines = [line for line in tables("attacks.md", f"{board}@{version}: the undefended target") if "---" not in line[0]]
    named = [(line[0].partition(":")[0], line[1:]) for line in lines[1:]]
    assert {name for name, _ in named} == {*made, "floor", "lookalike", "gold"}
    for name, (_, bits, _, accuracy, confidence, *passes) in named:
        found = [one.metrics for one in made[name]] if name in made else [one.controls[name] for one in plain]
        columns = ("id_bits", "attack_acc@1", "target_conf")
        assert [bits, accuracy, confidence] == [short(fmean(one[c].value for one in found)) for c in columns], name
        if name in made:
            ledger = made[name][0].ledger
            spent = [
                round(getattr(ledger.total, what) / len(ledger.per_class)) for what in ("forward", "backward", "render")
            ]
            assert [int(one.replace(" ", "")) for one in passes] == spent, name


def test_the_counts_of_the_readme_are_those_of_the_plugins():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    registry = load_registry()
    defenses = [entry for entry in registry.entries("defense") if entry.distribution.startswith("mibench-")]
    attacks = [entry for entry in registry.entries("attack") if entry.distribution.startswith("mibench-")]
    white = [entry for entry in attacks if entry.spec.access == "white-box" and not entry.spec.baseline]  # type: ignore[attr-defined]
    assert (len(defenses), len(white)) == (18, 13)
    assert "[eighteen defenses and controls]" in readme
    assert "[thirteen white-box attacks]" in readme
    assert (ROOT / "docs/attacks.md").read_text(encoding="utf-8").count("Thirteen white-box attacks") == 1


@pytest.mark.parametrize("page", ["docs/protocols.md", "plugins/mibench-datasets/README.md"])
def test_the_protocols_of_a_page_are_the_shipped_ones(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in (*BOARDS, "smoke"):
        split = load_protocol(load_registry(), name).protocol.split
        line = re.search(rf"^\| `{name}@1.0` .*$", text, re.MULTILINE)[0]
        assert f"| {split.train} / {split.val} / {split.test} |" in line
        assert re.search(rf"\b{split.private}\b.*\b{split.public}\b", line), (split, line)


def test_the_tests_that_a_page_names_exist():
    text = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", text))
    there = {path.name for folder in ("tests", "plugins") for path in (ROOT / folder).rglob("test_*.py")}
    assert named
    assert named - there == set()
