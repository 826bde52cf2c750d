"""Records on disk: atomic, sealed, and suspicious of what they read."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from record_factory import make_record, metric

from mibench.results.io import (
    MAX_BYTES,
    RecordError,
    file_name,
    load_record,
    save_record,
    seal,
    verify_digest,
)
from mibench.results.reports import EnvironmentReport, LedgerReport, LossTrend, SelfCheckReport


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    record = make_record()
    path = save_record(record, tmp_path / "new" / "folder")
    again = load_record(path)
    assert again == record
    assert verify_digest(again)
    assert path.name == f"tiny@1.0-smallcnn-atat-ppa-s0-{record.cell.key[:12]}.json"


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    record = make_record()
    first = save_record(record, tmp_path).read_bytes()
    assert save_record(load_record(save_record(record, tmp_path)), tmp_path).read_bytes() == first


@pytest.mark.parametrize(
    "aside",
    [{"timings": {"target": 9.0}}, {"environment": EnvironmentReport(device="H100")}, {"command": "other"}],
)
def test_the_digest_leaves_out_what_may_differ(aside: dict[str, object]) -> None:
    record = make_record()
    assert seal(record.model_copy(update=aside)).digest == record.digest


def test_the_digest_covers_every_number() -> None:
    record = make_record()
    changed = record.model_copy(update={"metrics": {**record.metrics, "reid@1": metric(0.31)}})
    assert not verify_digest(changed)
    assert seal(changed).digest != record.digest


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("ledger", LedgerReport(trace=LossTrend(loss_last=math.nan))),
        ("self_check", SelfCheckReport(signals={"ratio": math.nan})),
        ("environment", EnvironmentReport.model_validate({"load": math.nan})),
        ("timings", {"target": math.nan}),
    ],
)
def test_nan_cannot_be_saved(tmp_path: Path, part: str, value: object) -> None:
    record = make_record().model_copy(update={part: value})
    with pytest.raises(RecordError, match=r"(loss_last|ratio|load|target) is nan"):
        save_record(record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    record = make_record(defense="../../etc/passwd", model="..", attack="a/b\\c\x00")
    assert "/" not in file_name(record)
    assert save_record(record, tmp_path).parent == tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,\n "b": }', "line 2, column 7"),
        ("[1, 2]", "expected an object"),
        ("{}", "schema_version None"),
        ('{"schema_version": "1"}', "schema_version '1'"),
        ('{"schema_version": true}', "schema_version True"),
        ('{"schema_version": 99}', "pip install --upgrade mibench"),
        ('{"schema_version": 1, "schema_version": 1}', "'schema_version' occurs twice"),
        ('{"schema_version": NaN}', "NaN is not a number"),
        ('{"schema_version": 1}', "protocol: Field required"),
        ("[" * 100_000, "JSON"),
        ('{"a": ' + '{"b": [' * 100 + "]}" * 100 + "}", "a.b.0.b.0"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "is nested deeper than 32 levels"),
        ('{"a": {"b": [1, 1e999]}}', "a.b.1 is larger than any number that JSON readers agree on"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": {"b": ' + "9" * 400 + "}}", "a.b is a number of 400 digits; expected one that 64 bits hold"),
        ('{"a": "\\ud800"}', "a is text that UTF-8 cannot encode"),
        ('{"a": {"\\udc00": 1}}', "a key of a is text that UTF-8 cannot encode"),
        ('\ufeff{"a": 1}', "BOM"),
        ('{"schema_version": ' + "9" * 5000 + "}", "valid JSON"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=r"bad\.json") as caught:
        load_record(path)
    assert expected in str(caught.value)


def test_unknown_keys_and_wrong_types_are_named(tmp_path: Path) -> None:
    path = save_record(make_record(), tmp_path)
    content = json.loads(path.read_text())
    content["surprise"] = 1
    content["metrics"]["reid@1"]["value"] = "0.3"
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError) as caught:
        load_record(path)
    assert "surprise" in str(caught.value)
    assert "metrics.reid@1.value" in str(caught.value)


def test_missing_large_and_binary_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        load_record(tmp_path / "absent.json")
    with pytest.raises(RecordError, match="is no file"):
        load_record(tmp_path)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="UTF-8"):
        load_record(tmp_path / "binary.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(RecordError, match="larger"):
        load_record(tmp_path / "large.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_record(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(RecordError, match="is no file"):
        load_record(tmp_path / "pipe.json")


def test_thirty_megabytes_are_no_record(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(" " * 30_000_000 + "{}")
    with pytest.raises(RecordError, match="larger than 16 MiB"):
        load_record(path)
