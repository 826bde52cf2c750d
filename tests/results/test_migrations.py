"""Records of an older form. Forms before the first are made up by these tests; the published form stays version 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record_factory import make_record

from mibench.base.canonical import digest
from mibench.results import migrations
from mibench.results.io import RecordError, load_record, verify_digest
from mibench.results.migrations import NOT_COMPARED, Step
from mibench.results.record import SCHEMA_VERSION

SOUND = make_record()


def older(**changes: Any) -> dict[str, Any]:
    """Return a record of a form before the first: its seed had another name, and it noted the weather."""
    plain = {**json.loads(SOUND.model_dump_json()), "schema_version": 0, "weather": "rain"}
    plain["cell"]["random_seed"] = plain["cell"].pop("seed")
    plain |= changes
    return {**plain, "digest": digest({name: value for name, value in plain.items() if name not in NOT_COMPARED})}


def rename(raw: dict[str, Any]) -> dict[str, Any]:
    raw["cell"]["seed"] = raw["cell"].pop("random_seed")
    raw.pop("weather")
    return raw


def written(folder: Path, plain: dict[str, Any]) -> Path:
    file = folder / "record.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    return file


@pytest.fixture()
def lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(migrations.STEPS, 0, Step(rename))


@pytest.fixture()
def lossy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(migrations.STEPS, 0, Step(rename, loses="the weather"))


def test_the_published_form_has_a_step_from_each_version_before_it() -> None:
    assert sorted(migrations.STEPS) == list(range(migrations.oldest(), SCHEMA_VERSION))


@pytest.mark.usefixtures("lossless")
def test_an_older_record_is_read_sealed_anew_and_says_what_it_was(tmp_path: Path) -> None:
    plain = older()
    record = load_record(written(tmp_path, plain))
    assert record.model_copy(update={"origins": []}) == SOUND
    assert verify_digest(record)
    [origin] = record.origins
    assert (origin.digest, origin.change, origin.schema_version) == (plain["digest"], "schema", 0)
    assert origin.protocol == "tiny@1.0"


@pytest.mark.usefixtures("lossy")
def test_what_would_lose_something_is_refused_with_the_command(tmp_path: Path) -> None:
    file = written(tmp_path, older())
    with pytest.raises(RecordError, match=f"no place for the weather.*mibench leaderboard migrate-records {file}"):
        load_record(file)
    assert load_record(file, lossy=True).cell == SOUND.cell


@pytest.mark.usefixtures("lossless")
def test_an_older_record_that_was_edited_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="the file was edited"):
        load_record(written(tmp_path, {**older(), "weather": "sun"}))


@pytest.mark.usefixtures("lossless")
@pytest.mark.parametrize("cell", [None, 3, [], {}, {"random_seed": 0}, "x"])
def test_what_only_states_an_older_version_is_no_record(tmp_path: Path, cell: Any) -> None:
    with pytest.raises(RecordError, match="is not a record"):
        load_record(written(tmp_path, older(cell=cell)))


@pytest.mark.parametrize(("version", "told"), [(0, "from 1 to 1"), (2, "Update with"), ("1", "from 1 to 1")])
def test_versions_that_nobody_can_read_are_refused(tmp_path: Path, version: Any, told: str) -> None:
    with pytest.raises(RecordError, match=told):
        load_record(written(tmp_path, older(schema_version=version)))
