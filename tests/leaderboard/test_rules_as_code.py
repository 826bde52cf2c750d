"""Every rule has a sentence, an example that breaks it and one that keeps it; `check` tells all violations at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from record_factory import PROTOCOL_TEXT, make_record

from mibench.leaderboard import add_records, check_paths
from mibench.leaderboard.catalogue import ABSENT, LONG, RuleText, catalogue
from mibench.leaderboard.rules import RULES, check_record
from mibench.protocol.load import parse_protocol
from mibench.results.io import load_record, save_record, seal
from mibench.results.record import Record
from mibench.results.schema import schema_name, schema_text

PROTOCOL = parse_protocol(PROTOCOL_TEXT)
ROOT = Path(__file__).parents[2]
CODED = {rule.id for rule in RULES}
RULES_AS_TEXT = catalogue()
EXAMPLES = [rule for rule in RULES_AS_TEXT if rule.id in CODED]


def changed(changes: Mapping[str, Any]) -> Record:
    """Return a sound record with changes by dotted field, sealed anew unless its digest is what changes."""
    plain = json.loads(make_record().model_dump_json())
    for field, value in changes.items():
        *path, last = field.split(".")
        place = plain
        for name in path:
            place = place.setdefault(name, {})
        if value == ABSENT:
            del place[last]
        else:
            place[last] = "x" * 2_000_000 if value == LONG else value
    record = Record.model_validate_json(json.dumps(plain), strict=True)
    return record if "digest" in changes else seal(record)


def test_the_catalogue_has_every_rule_of_the_code_and_a_sentence_each() -> None:
    assert {rule.id for rule in RULES_AS_TEXT} >= CODED
    assert all(rule.sentence.endswith(".") and rule.words(rule.breaks) and rule.words(rule.keeps)
               for rule in RULES_AS_TEXT)  # fmt: skip
    assert [rule.id for rule in RULES_AS_TEXT] == sorted(rule.id for rule in RULES_AS_TEXT)


@pytest.mark.parametrize("rule", EXAMPLES, ids=[rule.id for rule in EXAMPLES])
def test_examples_do_what_they_say(rule: RuleText) -> None:
    assert not isinstance(rule.breaks, str)
    assert not isinstance(rule.keeps, str)
    broken = [found for found in check_record(changed(rule.breaks), PROTOCOL) if found.id == rule.id]
    assert broken
    assert all(found.problem.field and found.problem.text and found.problem.remedy for found in broken)
    assert rule.id not in {found.id for found in check_record(changed(rule.keeps), PROTOCOL)}


def test_all_violations_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    save_record(make_record(seed=77, command=" "), folder)
    save_record(make_record(), folder)
    (folder / "cut.json").write_text('{"schema_version": 1,')
    found = {one.path.name: [finding.id for finding in one.findings] for one in
             check_paths([folder], tmp_path / "boards", {"tiny@1.0": PROTOCOL_TEXT})}  # fmt: skip
    assert found.pop("cut.json") == ["MB100"]
    assert sorted(found.values()) == [[], ["MB302", "MB701"]]
    assert not (tmp_path / "boards").exists()


def test_a_board_is_checked_whole_when_one_entry_cannot_be_read(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    run = [save_record(make_record(seed=seed), tmp_path / "run") for seed in (0, 1)]
    entries = add_records(run, boards, {"tiny@1.0": PROTOCOL_TEXT})
    entries[0].write_text("[]")
    for place in (boards, boards / "tiny" / "1.0"):
        assert [[finding.id for finding in one.findings] for one in check_paths([place], boards)] == [["MB100"], []]


def test_a_board_with_numbers_beyond_computing_is_checked_and_no_table_made_of_it(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    run = [save_record(make_record(seed=seed), tmp_path / "run") for seed in (0, 1)]
    for entry in add_records(run, boards, {"tiny@1.0": PROTOCOL_TEXT}):
        record = load_record(entry)
        huge = [1e160 * (1 + place / 40) for place in range(12)]
        headline = record.metrics["reid@1"].model_copy(update={"per_class": huge})
        save_record(record.model_copy(update={"metrics": {**record.metrics, "reid@1": headline}}), entry.parent)
    found = list(check_paths([boards], boards))
    assert [one.path.suffix for one in found] == [".json", ".json"]
    assert all("MB615" in {finding.id for finding in one.findings} for one in found)


def test_a_published_cell_with_other_numbers_is_told(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    add_records([save_record(make_record(), tmp_path / "run")], boards, {"tiny@1.0": PROTOCOL_TEXT})
    rival = save_record(make_record(leakage=0.2), tmp_path / "rival")
    [checked] = check_paths([rival], boards)
    assert [finding.id for finding in checked.findings] == ["MB203"]


def test_no_record_is_compared_with_half_a_board(tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    run = [save_record(make_record(defense=name), tmp_path / "run") for name in ("aa", "bb", "cc")]
    entries = add_records(run, boards, {"tiny@1.0": PROTOCOL_TEXT})
    entries[1].write_text("[]")
    for name, leakage in (("cc", 0.1), ("zz", 0.3)):
        save_record(make_record(defense=name, leakage=leakage), tmp_path / "mine")
    checked = list(check_paths([tmp_path / "mine"], boards))
    assert [(one.path, [finding.id for finding in one.findings]) for one in checked] == [(entries[1], ["MB100"])] * 2


def bare(schema: Any) -> Any:
    """Return a schema without descriptions, of which versions of pydantic keep some or all."""
    if isinstance(schema, dict):
        kept = {name: bare(value) for name, value in schema.items()}
        return {name: value for name, value in kept.items() if name != "description" or not isinstance(value, str)}
    return [bare(item) for item in schema] if isinstance(schema, list) else schema


def test_the_schema_on_disk_is_that_of_the_record_and_fits_published_ones() -> None:
    stated = (ROOT / "leaderboards" / schema_name()).read_text(encoding="utf-8")
    assert bare(json.loads(stated)) == bare(json.loads(schema_text()))
    fastjsonschema = pytest.importorskip("fastjsonschema")
    schema = json.loads(stated)
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"  # the checker's newest; no keyword differs
    check = fastjsonschema.compile(schema)
    entries = sorted((ROOT / "leaderboards").glob("*/*/entries/*/*.json"))[::30]
    for entry in entries:
        check(json.loads(entry.read_text(encoding="utf-8")))
    record = json.loads(entries[0].read_text(encoding="utf-8"))
    for wrong in ({**record, "schema_version": 2}, {**record, "mine": 1}, {**record, "cell": {}}):
        with pytest.raises(fastjsonschema.JsonSchemaException):
            check(wrong)
