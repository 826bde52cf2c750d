"""A record's cell is planned again: what is installed is compared, what is not is reported as such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_plugin import PROTOCOL

from mibench.assemble.recheck import Recheck
from mibench.leaderboard import RefusedError, add_records, load_board
from mibench.leaderboard.rules import check_record
from mibench.protocol.load import parse_protocol
from mibench.results.io import load_record, save_record, seal
from mibench.results.record import Record


@pytest.fixture()
def record(toy_run):
    return toy_run(defenses=("noisy",), settings={"defense.lam": 0.75}).records[1]


def changed(record: Record, role: str, **fields: Any) -> Record:
    part = record.components[role].model_copy(update=fields)
    cell = record.cell.model_copy(update={role: part.name}) if role in ("defense", "attack", "model") else record.cell
    return seal(record.model_copy(update={"components": {**record.components, role: part}, "cell": cell}))


def loaded(text: str = PROTOCOL.read_text(encoding="utf-8")):
    return parse_protocol(text)


def test_a_run_publishes_through_the_same_checks(toy_run, toy_registry, tmp_path):
    result = toy_run(defenses=("noisy",), publish=tmp_path / "boards")
    assert len(result.published) == 2
    assert list(result.refusals) == ["", ""]
    assert len(load_board(tmp_path / "boards").rows) == 2
    recheck = Recheck(toy_registry)
    assert [recheck.verdict(record, loaded()) for record in result.records] == [([], [])] * 2
    assert recheck.believed() == {}


def test_parameters_of_defenses_are_free_but_must_be_what_the_key_says(record, toy_registry):
    recheck = Recheck(toy_registry)
    assert record.components["defense"].overridden
    assert recheck.verdict(record, loaded()) == ([], [])
    [finding] = recheck.findings(changed(record, "defense", params={"lam": 0.5}), loaded())
    assert finding.id == "MB205"
    found = recheck.findings(changed(record, "defense", params={}), loaded())
    assert [finding.text.partition(":")[0] for finding in found] == [
        "components.defense.params.lam",
        "components.defense.overridden",
    ]


def test_what_is_not_installed_is_reported(record, toy_registry):
    recheck = Recheck(toy_registry)
    assert recheck.verdict(changed(record, "defense", name="of-somebody"), loaded()) == ([], ["defense", "key"])
    attacked = changed(changed(record, "attack", name="of-somebody"), "metric:match", licence="GPL-3.0")
    [finding] = recheck.findings(attacked, loaded())
    assert finding.text.startswith("components.metric:match.licence: expected MIT, got GPL-3.0;")
    assert recheck.believed() == {"defense": 1, "attack": 1, "prior": 1, "key": 2}


def test_a_board_of_foreign_metrics_is_reported_as_a_whole(record, toy_registry):
    foreign = changed(record, "metric:match", name="of-somebody")
    assert Recheck(toy_registry).verdict(foreign, loaded()) == ([], [*record.components, "key"])


@pytest.mark.parametrize("stated", ["999", "0", "two"])
def test_a_version_that_nobody_has_is_refused(record, toy_registry, stated):
    [finding] = Recheck(toy_registry).findings(changed(record, "attack", version=stated), loaded())
    expected = f"components.attack.version: expected 1, the installed version of attack 'guess', got {stated};"
    assert finding.id == "MB112"
    assert expected in finding.text


def test_records_of_an_older_version_keep_their_key(record, toy_registry):
    registered = toy_registry.get("attack", "guess")
    toy_registry._components["attack", "guess"] = replace(registered, spec=replace(registered.spec, version="2"))
    assert Recheck(toy_registry).verdict(record, loaded()) == ([], [])
    other = seal(record.model_copy(update={"cell": record.cell.model_copy(update={"key": "ab" * 32})}))
    assert Recheck(toy_registry).verdict(other, loaded()) == ([], ["attack", "key"])


def test_joint_defenses_are_planned_with_the_parameters_of_each(toy_run, toy_registry):
    [_, joint] = toy_run(defenses=("noisy+warm",), settings={"noisy.lam": 0.75}).records
    assert joint.cell.defense == "noisy+warm"
    assert Recheck(toy_registry).verdict(joint, loaded()) == ([], [])
    params = {**joint.components["defense"].params, "noisy": {"lam": 0.5}}
    [finding] = Recheck(toy_registry).findings(changed(joint, "defense", params=params), loaded())
    assert finding.id == "MB205"


def test_a_frozen_number_that_yaml_reads_as_text_is_compared_as_the_component_reads_it(toy_run, tmp_path, toy_registry):
    text = PROTOCOL.read_text(encoding="utf-8").replace("params: {images: 2}", "params: {images: 2, lr: '5e-3'}")
    (tmp_path / "frozen.yaml").write_text(text, encoding="utf-8")
    result = toy_run(protocols=(str(tmp_path / "frozen.yaml"),), defenses=("noisy",))
    assert result.records[1].components["attack"].params["lr"] == 0.005
    assert [check_record(record, loaded(text)) for record in result.records] == [[], []]
    assert Recheck(toy_registry).verdict(result.records[1], loaded(text)) == ([], [])
    assert "is a file; boards take the protocols of installed plugins" in result.refusals[0]


def test_reported_roles_do_not_keep_records_out(record, toy_registry, tmp_path):
    recheck, texts = Recheck(toy_registry), {"toy@1.0": PROTOCOL.read_text(encoding="utf-8")}
    path = save_record(changed(record, "defense", name="of-somebody"), tmp_path / "run")
    [entry] = add_records([path], tmp_path / "boards", texts, recheck.findings)
    assert load_record(entry).cell.defense == "of-somebody"
    bad = save_record(changed(record, "attack", version="7"), tmp_path / "bad")
    with pytest.raises(RefusedError, match="MB112"):
        add_records([bad], tmp_path / "other", texts, recheck.findings)
