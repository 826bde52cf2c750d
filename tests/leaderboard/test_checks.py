"""Rules of the board: each has a record that breaks it, and a sound record breaks none."""

from __future__ import annotations

from typing import Any

import pytest
from record_factory import PROTOCOL_TEXT, component, make_record, metric

from mibench.leaderboard.checks import RULES, check_record
from mibench.protocol.load import parse_protocol
from mibench.results.record import Failure, Flag, Record

PROTOCOL = parse_protocol(PROTOCOL_TEXT)
SOUND = make_record()

OTHER_MODEL = component("model", "smallcnn", width=1).model_copy(update={"overridden": True})


def with_attack(**params: Any) -> dict[str, Any]:
    return {**SOUND.components, "attack": component("attack", "ppa", **params)}


def with_protocol(**changes: str) -> Any:
    return SOUND.protocol.model_copy(update=changes)


BROKEN: list[tuple[str, Record]] = [
    ("MB101", make_record(status="failed", failure=Failure(stage="target", error="no memory"))),
    ("MB102", make_record(protocol=with_protocol(variant="validation"))),
    ("MB103", make_record(model="a b")),
    ("MB104", make_record(components={**SOUND.components, "defense": component("defense", "other")})),
    ("MB104", make_record(components={"attack": SOUND.components["attack"]})),
    ("MB201", SOUND.model_copy(update={"digest": "0" * 64})),
    ("MB202", make_record(key="short")),
    ("MB301", make_record(protocol=with_protocol(digest="0" * 64))),
    ("MB302", make_record(seed=3)),
    ("MB303", make_record(components=with_attack(steps=1))),
    ("MB303", make_record(components=with_attack())),
    ("MB303", make_record(flags=[Flag(id="attack-settings-overridden", text="x")])),
    ("MB304", make_record(protocol=with_protocol(headline="attack_acc@1/net"))),
    ("MB304", make_record(metrics={}).model_copy(update={"metrics": {"reid@1": metric(0.3)}})),
    ("MB305", make_record(components={**SOUND.components, "model": OTHER_MODEL})),
    ("MB311", SOUND.model_copy(update={"attacked": [0, 1]})),
    ("MB501", make_record(controls={"gold": SOUND.controls["gold"], "floor": SOUND.controls["floor"]})),
    ("MB601", make_record(metrics={"x": metric(0.5).model_copy(update={"value": 1.5})})),
    ("MB602", make_record(metrics={"reid@5": metric(0.2)})),
    ("MB603", make_record(metrics={"robust_acc@2": metric(0.9, group="robustness", up=True, n=24)})),
    ("MB604", make_record(metrics={"accuracy": metric(0.5, group="utility", up=True, n=24)})),
    ("MB605", make_record(normalized_leakage=0.1)),
    ("MB605", make_record(normalized_leakage=None)),
    ("MB606", make_record(metrics={"x": metric(0.5).model_copy(update={"ci95": (0.1, 0.9)})})),
    ("MB606", make_record(metrics={"x": metric(0.5).model_copy(update={"ci95": None})})),
    ("MB701", make_record(command=" ")),
]


def test_every_rule_has_a_case() -> None:
    assert {identifier for identifier, _ in BROKEN} == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_a_sound_record_breaks_none() -> None:
    assert check_record(SOUND, PROTOCOL) == []


def test_another_preset_is_another_attack_but_changed_settings_are_refused() -> None:
    part = component("attack", "ppa", steps=1, loss="ce").model_copy(update={"preset": "ce"})
    variant = make_record(attack="ppa/ce", components={**SOUND.components, "attack": part})
    assert check_record(variant, PROTOCOL) == []
    changed = part.model_copy(update={"overridden": True})
    [finding] = check_record(make_record(attack="ppa/ce", components={**SOUND.components, "attack": changed}), PROTOCOL)
    assert finding.id == "MB303"


def test_the_frozen_preset_without_the_frozen_parameters_is_refused() -> None:
    frozen = PROTOCOL.protocol.attacks["ppa"].model_copy(update={"preset": "small"})
    protocol = PROTOCOL.protocol.model_copy(update={"attacks": {"ppa": frozen}})
    loaded = type(PROTOCOL)(protocol, "test", PROTOCOL.digest, PROTOCOL.text, PROTOCOL.id)

    def broken(preset: str | None, **params: Any) -> list[str]:
        part = component("attack", "ppa", **params).model_copy(update={"preset": preset})
        return [
            found.id for found in check_record(make_record(components={**SOUND.components, "attack": part}), loaded)
        ]

    assert broken("small", steps=5) == []
    assert broken("small", steps=1) == ["MB303"]
    assert broken(None, steps=5) == ["MB303"]


@pytest.mark.parametrize(("identifier", "record"), BROKEN)
def test_is_found(identifier: str, record: Record) -> None:
    found = check_record(record, PROTOCOL)
    assert identifier in {finding.id for finding in found}
    assert all(finding.text for finding in found)


def test_a_failed_cell_ends_the_check() -> None:
    assert [finding.id for finding in check_record(BROKEN[0][1], PROTOCOL)] == ["MB101"]


@pytest.mark.parametrize(("stated", "frozen"), [((1, 2), [1, 2]), (5.0, 5), ({"a": 1, "b": 2}, {"a": 1})])
def test_frozen_parameters_are_compared_as_values(stated: object, frozen: object) -> None:
    choice = PROTOCOL.protocol.attacks["ppa"].model_copy(update={"params": {"steps": frozen}})
    protocol = PROTOCOL.protocol.model_copy(update={"attacks": {"ppa": choice}})
    loaded = type(PROTOCOL)(protocol, "test", PROTOCOL.digest, PROTOCOL.text, PROTOCOL.id)
    assert check_record(make_record(components=with_attack(steps=stated)), loaded) == []
