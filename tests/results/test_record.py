"""The record as a document: what is published reads and writes byte for byte; younger fields are absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_factory import make_record, metric

from mibench.api.quantity import Quantity
from mibench.results.io import RecordError, load_record, save_record, verify_digest
from mibench.results.record import MetricValue, Record

ENTRIES = sorted((Path(__file__).parents[2] / "leaderboards").glob("*/*/entries/*/*.json"))


def text_of(record: Record) -> str:
    return json.dumps(record.model_dump(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_every_published_entry_is_written_as_it_was_read() -> None:
    assert len(ENTRIES) >= 345
    changed = []
    for path in ENTRIES:
        text = path.read_text(encoding="utf-8")
        record = Record.model_validate_json(text, strict=True)
        if text_of(record) != text or not verify_digest(record):
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
