"""The record as a document: what is published reads and writes byte for byte; younger fields are absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_factory import make_record, metric

from mibench.api.quantity import Quantity
from mibench.results.io import RecordError, load_record, save_record, verify_digest
from mibench.results.record import MetricValue, Record
from mibench.results.reports import EnvironmentReport, LedgerReport, Queries, SelfCheckReport

ENTRIES = sorted((Path(__file__).parents[2] / "leaderboards").glob("*/*/entries/*/*.json"))


def one_line(value: object) -> str:
    """Return JSON in which 1, 1.0 and true are three texts."""
    return json.dumps(value, sort_keys=True)


def test_every_published_entry_is_written_as_it_was_read() -> None:
    assert len(ENTRIES) >= 345
    changed = []
    for path in ENTRIES:
        text = path.read_bytes()
        record = Record.model_validate_json(text, strict=True)
        if one_line(record.model_dump()) != one_line(json.loads(text)):
            changed.append(path.name)
    assert changed == []


def test_an_entry_is_saved_as_it_was_read(tmp_path: Path) -> None:
    for path in ENTRIES[::60]:
        assert save_record(load_record(path), tmp_path).read_bytes() == path.read_bytes()


def test_what_a_number_is_is_kept_only_where_its_name_does_not_say_it(tmp_path: Path) -> None:
    meant = Quantity(role="attack_accuracy", base="hit", k=1, evaluator="net")
    number = metric(0.5).model_copy(update={"quantity": meant})
    path = save_record(make_record(metrics={"recognised": number}), tmp_path)
    stored = json.loads(path.read_text())["metrics"]
    assert stored["recognised"]["quantity"] == {"role": "attack_accuracy", "base": "hit", "k": 1, "evaluator": "net"}
    assert all("quantity" not in other for name, other in stored.items() if name != "recognised")
    again = load_record(path)
    assert again.metrics["recognised"].quantity == meant
    assert verify_digest(again)


@pytest.mark.parametrize(
    "stated", [{"role": "hostile"}, {"k": "1"}, {"k": True}, {"radius": "far"}, {"mine": 1}, "reid", [1]]
)
def test_a_quantity_that_is_none_is_refused(tmp_path: Path, stated: object) -> None:
    path = save_record(make_record(), tmp_path)
    raw = json.loads(path.read_text())
    raw["metrics"]["reid@1"]["quantity"] = stated
    path.write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=r"metrics\.reid@1\.quantity"):
        load_record(path)


def test_a_measured_number_keeps_what_it_is() -> None:
    plain = metric(0.5)
    assert plain.quantity is None
    assert MetricValue.model_validate(plain.model_dump()) == plain


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("self_check", {"active": "yes"}),
        ("self_check", {"signals": {"x": [1]}}),
        ("self_check", {"mine": 1}),
        ("ledger", {"total": {"forward": 1, "backward": 1}}),
        ("ledger", {"total": {"forward": -1, "backward": 0, "render": 0}}),
        ("ledger", {"total": {"forward": 1.5, "backward": 0, "render": 0}}),
        ("ledger", {"total": {"forward": True, "backward": 0, "render": 0}}),
        ("ledger", {"per_class": []}),
        ("ledger", {"failed": {"1": 2}}),
        ("ledger", {"chosen_by": ["hostile"]}),
        ("ledger", {"trace": "hostile"}),
        ("ledger", {"trace": {"loss_first": True}}),
        ("environment", {"packages": {"torch": 2}}),
        ("environment", {"threads": "two"}),
        ("environment", {"differences": {"threads": ["a"]}}),
    ],
)
def test_reports_of_another_form_are_refused(tmp_path: Path, part: str, value: dict[str, object]) -> None:
    path = save_record(make_record(), tmp_path)
    raw = json.loads(path.read_text())
    raw[part] = value
    path.write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=rf"is not a record: {part}\.{next(iter(value))}"):
        load_record(path)


def test_what_a_report_does_not_state_is_absent_and_what_it_states_stays() -> None:
    assert LedgerReport().model_dump() == {}
    stated = {"budget": {"forward": None, "backward": None}, "trace": {}, "chosen_by": None}
    assert LedgerReport.model_validate(stated).model_dump() == stated
    signals = {"count": 3, "share": 3.0, "on": True, "ratio": "nan"}
    kept = SelfCheckReport.model_validate({"signals": signals}).model_dump()["signals"]
    assert [(name, type(value)) for name, value in kept.items()] == [(n, type(v)) for n, v in signals.items()]
    told = {"threads": [1, 2], "cuda": [None, "12.8"], "packages": {"torch": ["2.11", "2.12"]}, "gpu_clock": "unknown"}
    assert EnvironmentReport.model_validate(told).model_dump() == told


def test_queries_are_added_by_hand() -> None:
    one, two = Queries(forward=1, backward=2, render=3), Queries(forward=10, backward=20, render=30)
    assert one.plus([two, two]) == Queries(forward=21, backward=42, render=63)
    assert one.plus([]) == one
