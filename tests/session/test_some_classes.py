"""A protocol that attacks some classes: what is made and counted, what its records say, which boards take them."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean

import pytest

from mibench.api import UsageError
from mibench.leaderboard.rows import make_rows
from mibench.leaderboard.rules import check_record
from mibench.protocol.load import load_protocol
from mibench.results.io import seal

TOY = Path(__file__).parent.parent / "fake_plugin" / "toy.yaml"
REID, LEAKAGE = "match@1", ("match@1", "light")


def write(folder: Path, choice: str) -> str:
    text = TOY.read_text(encoding="utf-8").replace("name: toy\n", "name: toy-some\n")
    path = folder / "toy-some.yaml"
    path.write_text(f"{text}attack_classes: {choice}\n", encoding="utf-8")
    return str(path)


def nodes(cell):
    return {
        "target": cell.target.key,
        "evidence": cell.reconstructions.key,
        "gold": cell.gold["match"].needs["evidence"],
    }


@pytest.fixture()
def both(toy_run, tmp_path):
    """Return the results of all three classes, and of classes 0 and 2."""
    whole = toy_run()
    return whole, toy_run(protocols=(write(tmp_path, "{labels: [2, 0]}"),))


def test_only_chosen_classes_are_attacked_and_counted(both):
    (whole,), (some,) = (result.records for result in both)
    assert some.status == "done"
    assert (some.attacked, some.attacked_classes, len(some.classes)) == ([0, 2], 2, 3)
    assert set(some.ledger.per_class) == {"0", "2"}
    for found, full in [(some.metrics, whole.metrics)] + [
        (some.controls[name], whole.controls[name]) for name in ("gold", "floor", "undefended")
    ]:
        for name in LEAKAGE:
            assert found[name].per_class == [full[name].per_class[0], None, full[name].per_class[2]]
            assert found[name].value == pytest.approx(fmean((full[name].per_class[0], full[name].per_class[2])))
    # The target is measured on all people.
    assert some.metrics["accuracy"] == whole.metrics["accuracy"]
    assert None not in some.metrics["accuracy"].per_class


def test_targets_are_shared_and_attacks_are_not(both):
    whole, some = (result.planned.cells[0] for result in both)
    assert nodes(whole)["target"] == nodes(some)["target"]
    assert nodes(whole)["evidence"] != nodes(some)["evidence"]
    assert nodes(whole)["gold"] != nodes(some)["gold"]
    assert "attacked" not in whole.reconstructions.payload
    assert some.reconstructions.payload["attacked"] == [0, 2]


def test_a_record_says_so_and_only_its_own_board_takes_it(both, toy_registry):
    (whole,), (some,) = (result.records for result in both)
    assert (len(some.attacked), whole.attacked) == (2, None)
    own, other = both[1].planned.cells[0].loaded, load_protocol(toy_registry, "toy")
    assert not {"MB301", "MB311"} & {finding.id for finding in check_record(some, own)}
    assert not {"MB301", "MB311"} & {finding.id for finding in check_record(whole, other)}
    assert {"MB301", "MB311"} <= {finding.id for finding in check_record(some, other)}
    assert {"MB301", "MB311"} <= {finding.id for finding in check_record(whole, own)}
    # Two protocols: never in one row.
    assert [row.classes for row in make_rows([whole, some])] == [3, 2]


def test_a_board_refuses_other_classes_than_the_protocols(both):
    (some,), own = both[1].records, both[1].planned.cells[0].loaded
    for change, text in (
        ({"attacked": [0, 1]}, r"attacked: expected \[0, 2\] as the protocol lists them, got \[0, 1\]"),
        ({"attacked": None}, "attacked: expected 2 classes as the protocol wants, got 3"),
        (
            {"metrics": {**some.metrics, REID: some.metrics[REID].model_copy(update={"per_class": [0.0, 0.0, 1.0]})}},
            r"match@1.per_class: expected values of attacked classes alone, got one of class 1",
        ),
    ):
        forged = seal(some.model_copy(update=change))
        found = [finding.text for finding in check_record(forged, own) if finding.id == "MB311"]
        assert any(re.search(text, one) for one in found), (change, found)


def test_a_balanced_draw_asks_the_dataset(toy_run, tmp_path):
    (record,) = toy_run(protocols=(write(tmp_path, "{number: 2, seed: 1, balance: parity}"),)).records
    assert len(record.attacked) == 2
    assert {record.classes[str(label)] % 2 for label in record.attacked} == {0, 1}


def test_an_impossible_choice_is_refused_before_anything_runs(toy_run, tmp_path):
    with pytest.raises(UsageError, match="0 to 2"):
        toy_run(protocols=(write(tmp_path, "{labels: [3]}"),))
    with pytest.raises(UsageError, match="it tells parity"):
        toy_run(protocols=(write(tmp_path, "{number: 2, balance: sex}"),))
