"""Rules of the board: each has a record that breaks it, and a sound record breaks none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from record_factory import PROTOCOL_TEXT, component, ledger, make_record, metric

from mibench.leaderboard.protocol_rules import attacked_classes_fit
from mibench.leaderboard.rules import RULES, check_record
from mibench.protocol.load import parse_protocol
from mibench.results.agreement import ranks_agree
from mibench.results.averages import average_of
from mibench.results.flags import compute_flags
from mibench.results.intervals import metric_value
from mibench.results.record import Failure, Flag, MetricValue, Record

PROTOCOL = parse_protocol(PROTOCOL_TEXT)
SOUND = make_record()

OTHER_MODEL = component("model", "smallcnn", width=1).model_copy(update={"overridden": True})
FOREIGN_MODEL = component("model", "smallcnn", width=1).model_copy(update={"comes_trained": True})


def with_attack(**params: Any) -> dict[str, Any]:
    return {**SOUND.components, "attack": component("attack", "ppa", **params)}


def with_protocol(**changes: str) -> Any:
    return SOUND.protocol.model_copy(update=changes)


def with_part(role: str, **changes: str) -> Record:
    part = SOUND.components[role].model_copy(update=changes)
    return make_record(components={**SOUND.components, role: part})


def gold_in(unit: str) -> dict[str, dict[str, MetricValue]]:
    gold = {name: metric.model_copy(update={"unit": unit}) for name, metric in SOUND.controls["gold"].items()}
    return {**SOUND.controls, "gold": gold}


def shifted(value: MetricValue, step: float) -> MetricValue:
    low, high = value.ci95 or (0.0, 0.0)
    return value.model_copy(update={"ci95": (low + step, high + step)})


def valued(value: MetricValue, number: float) -> MetricValue:
    return value.model_copy(update={"value": number})


BROKEN: list[tuple[str, Record]] = [
    ("MB101", make_record(status="failed", failure=Failure(stage="target", error="no memory"))),
    ("MB102", make_record(protocol=with_protocol(variant="validation"))),
    ("MB103", make_record(model="a b")),
    ("MB104", make_record(components={**SOUND.components, "defense": component("defense", "other")})),
    ("MB104", make_record(components={"attack": SOUND.components["attack"]})),
    ("MB105", make_record(components={k: v for k, v in SOUND.components.items() if k != "prior"})),
    ("MB105", with_part("embedder", name="other")),
    ("MB105", with_part("embedder", kind="attack")),
    ("MB105", with_part("dataset", source_digest="0" * 64)),
    ("MB106", make_record(inputs={})),
    ("MB106", make_record(inputs={**SOUND.inputs, "target": "0" * 64})),
    ("MB107", make_record(classes={})),
    ("MB107", make_record(classes={**SOUND.classes, "3": 4})),
    ("MB108", make_record(ledger={})),
    ("MB108", make_record(ledger={**ledger(10, 5), "total": {"forward": 0, "backward": 0, "render": 0}})),
    ("MB108", make_record(ledger={key: value for key, value in ledger(10, 5).items() if key != "shared"})),
    ("MB108", make_record(ledger={key: value for key, value in ledger(10, 5).items() if key != "trace"})),
    ("MB108", make_record(ledger={**ledger(10, 5), "per_class": {"0": {"forward": 1, "backward": 0, "render": 0}}})),
    ("MB108", make_record(ledger=ledger(10, 5, budget={"forward": 1, "backward": None}))),
    ("MB108", make_record(ledger=ledger(10, 5, failed={"77": "no"}))),
    ("MB108", make_record(ledger=ledger(10, 5, chosen_by="nobody"))),
    ("MB109", make_record(self_check={"reason": "none"})),
    ("MB110", make_record(flags=[Flag(id="all-is-well", text="x")])),
    ("MB113", make_record(environment={"note": "x" * 2_000_000})),
    ("MB201", SOUND.model_copy(update={"digest": "0" * 64})),
    ("MB202", make_record(key="short")),
    ("MB202", make_record(key="0" * 64)),
    ("MB301", make_record(protocol=with_protocol(digest="0" * 64))),
    ("MB302", make_record(seed=3)),
    ("MB303", make_record(components=with_attack(steps=1))),
    ("MB303", make_record(components=with_attack())),
    ("MB303", make_record(flags=[Flag(id="attack-settings-overridden", text="x")])),
    ("MB304", make_record(protocol=with_protocol(headline="attack_acc@1/net"))),
    ("MB304", make_record(metrics={}).model_copy(update={"metrics": {"reid@1": metric(0.3)}})),
    ("MB305", make_record(components={**SOUND.components, "model": OTHER_MODEL})),
    ("MB306", make_record(components={**SOUND.components, "model": FOREIGN_MODEL})),
    ("MB311", SOUND.model_copy(update={"attacked": [0, 1]})),
    ("MB312", make_record(components={**SOUND.components, "prior": component("prior", "gan", width=4)})),
    ("MB312", make_record(components={**SOUND.components, "prior": component("prior", "gan")})),
    ("MB501", make_record(controls={"gold": SOUND.controls["gold"], "floor": SOUND.controls["floor"]})),
    ("MB601", make_record(metrics={"x": metric(0.5).model_copy(update={"value": 1.5})})),
    ("MB602", make_record(metrics={"reid@5": metric(0.2)})),
    ("MB603", make_record(metrics={"robust_acc@2": metric(0.9, group="robustness", up=True, n=24)})),
    ("MB604", make_record(metrics={"accuracy": metric(0.5, group="utility", up=True, n=24)})),
    ("MB605", make_record(normalized_leakage=0.1)),
    ("MB605", make_record(normalized_leakage=None)),
    ("MB606", make_record(metrics={"x": metric(0.5).model_copy(update={"ci95": (0.1, 0.9)})})),
    ("MB606", make_record(metrics={"x": metric(0.5).model_copy(update={"ci95": None})})),
    ("MB606", make_record(metrics={"x": shifted(metric(0.5), 0.001)})),
    ("MB607", make_record(metrics={"reid@1": valued(metric(0.3), 0.25)})),
    ("MB607", make_record(metrics={"robust_acc@2": valued(metric(0.4, group="robustness", up=True, n=30), 0.5)})),
    ("MB607", make_record(metrics={"reid@1": metric(0.3, images_per_class=[4] * 11 + [5])})),
    ("MB608", make_record(metrics={"reid@1": metric(0.3, ranks=[0] * 48)})),
    ("MB608", make_record(metrics={"reid@1": metric(0.3, ranks=[0] * 47)})),
    ("MB608", make_record(metrics={"reid@1": metric(0.3, ranks=["first"] * 48)})),
    ("MB609", make_record(metrics={"attack_acc@1": metric(0.5)})),
    ("MB610", make_record(metrics={"accuracy": metric(0.95, group="utility", up=True, n=25)})),
    ("MB610", make_record(metrics={"reid@1": metric(0.3, n=36)})),
    ("MB610", make_record(metrics={"x": metric(0.5, classes=4)})),
    ("MB611", make_record(metrics={"robust_acc@2": metric(0.4, group="robustness", up=True, n=24, eps=0.5)})),
    ("MB612", make_record(defense="none", controls=SOUND.controls)),
    ("MB613", make_record(controls=gold_in("percent"))),
    ("MB615", make_record(metrics={"x": valued(metric(0.5, group="cost", unit="seconds"), 1.1e15)})),
    ("MB616", make_record(metrics={"x": metric(4.4, unit="bits", among=20)})),
    ("MB616", make_record(metrics={"x": metric(2.0, unit="bits", n=12, among=20, own_ranks=[5] * 12)})),
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


def test_priors_that_attacks_bring_are_held_to_what_the_protocol_freezes_of_them() -> None:
    for brought in (component("prior", "gan", width=8, depth=3), component("prior", "other", width=4)):
        assert check_record(make_record(components={**SOUND.components, "prior": brought}), PROTOCOL) == []


@pytest.mark.parametrize(("identifier", "record"), BROKEN)
def test_is_found(identifier: str, record: Record) -> None:
    found = check_record(record, PROTOCOL)
    assert identifier in {finding.id for finding in found}
    assert all(finding.text for finding in found)


@pytest.mark.parametrize(
    ("choice", "attacked", "told"),
    [
        ("{number: 6, seed: 3}", [4, 6, 7, 8, 10, 11], None),
        ("{number: 6, seed: 3}", [0, 1, 2, 3, 4, 5], r"expected \[4, 6, 7, 8, 10, 11\] as the protocol draws them"),
        ("{number: 6, seed: 3}", [11, 10, 8, 7, 6, 4], "expected different classes, 0 to 11, in ascending order"),
        ("{number: 6, seed: 3}", [0, 0, 0, 0, 0, 0], "expected different classes"),
        ("{number: 2, balance: sex}", [3, 9], None),
        ("{number: 2, balance: sex}", [3, 3], "expected different classes"),
        ("{number: 2, balance: sex}", [3, 12], "expected different classes"),
        ("{number: 2, balance: sex}", [-1, 3], "expected different classes"),
        ("{labels: [5, 2]}", [2, 5], None),
        ("{labels: [5, 2]}", [5, 2], "in ascending order"),
        ("{labels: [5, 2]}", [2, 4], r"expected \[2, 5\] as the protocol lists them"),
        ("{labels: [5, 99]}", [5, 99], "expected different classes, 0 to 11"),
        ("{labels: [5, 99]}", [5, 6], r"expected \[5, 99\]"),
        ("{number: 13}", list(range(13)), "expected different classes, 0 to 11"),
    ],
)
def test_attacked_classes_are_those_that_the_protocol_draws(choice: str, attacked: list[int], told: str | None) -> None:
    loaded = parse_protocol(f"{PROTOCOL_TEXT}attack_classes: {choice}\n")
    found = [
        problem.text
        for problem in attacked_classes_fit(SOUND.model_copy(update={"attacked": attacked}), loaded)
        if problem.field == "attacked"
    ]
    assert (not found) if told is None else re.search(told, found[0])


def test_a_failed_cell_ends_the_check() -> None:
    assert [finding.id for finding in check_record(BROKEN[0][1], PROTOCOL)] == ["MB101"]


@pytest.mark.parametrize(
    ("stated", "frozen"),
    [((1, 2), [1, 2]), (5.0, 5), ({"a": 1, "b": 2}, {"a": 1}), (0.005, "5e-3"), ([0.5, 1e3], ["5e-1", 1000])],
)
def test_frozen_parameters_are_compared_as_values(stated: object, frozen: object) -> None:
    choice = PROTOCOL.protocol.attacks["ppa"].model_copy(update={"params": {"steps": frozen}})
    protocol = PROTOCOL.protocol.model_copy(update={"attacks": {"ppa": choice}})
    loaded = type(PROTOCOL)(protocol, "test", PROTOCOL.digest, PROTOCOL.text, PROTOCOL.id)
    assert check_record(make_record(components=with_attack(steps=stated)), loaded) == []


def unequal(*counts: int, values: list[float], value: float, **details: Any) -> MetricValue:
    row = {"value": value, "n": sum(counts), "unit": "fraction", "higher_is_better": False, "per_class": values}
    return metric_value({**row, "details": details}, "leakage")


def test_means_over_images_of_unequal_classes_are_computed_by_hand() -> None:
    exact = unequal(1, 3, values=[1.0, 0.0], value=0.25, images_per_class=[1, 3])
    assert average_of(exact) == (0.25, 0.25)
    # 3 images, so one class has two: (1 + 0 + 0) / 3 to (1 + 1 + 0) / 3
    assert average_of(unequal(2, 1, values=[1.0, 0.0], value=0.5)) == pytest.approx((1 / 3, 2 / 3))
    # the attack failed on the second of three classes, which counts as one without a hit
    failed = unequal(2, 0, 2, values=[1.0, 0.0, 0.5], value=0.5, images_per_class=[2, 0, 2])
    assert average_of(failed) == pytest.approx((0.5, 0.5))
    assert average_of(unequal(1, 3, values=[1.0, 0.0], value=0.25, images_per_class=[2, 3])) is None
    assert average_of(unequal(1, 3, values=[1.0, 0.0], value=0.25, images_per_class="all")) is None


def test_ranks_know_classes_that_failed() -> None:
    ranks = [0, 4, 0, 0]  # of two classes with two images each; the attack failed on the one between them
    found = {"x@1": unequal(2, 0, 2, values=[0.5, 0.0, 1.0], value=0.5, ranks=ranks)}
    assert list(ranks_agree(found, failed=1)) == []
    assert list(ranks_agree(found)) == []
    [wrong] = ranks_agree(found, failed=0)
    assert wrong.field == "x@1.value"
    lower = {"x@1": unequal(2, 0, 2, values=[0.5, 0.0, 0.5], value=1 / 3, ranks=ranks)}
    assert [one.field for one in ranks_agree(lower)] == ["x@1.value"]


@pytest.mark.parametrize("huge", [10**400, float("nan"), float("inf"), "1", True, None, [1]])
def test_what_is_no_number_raises_nothing(huge: object) -> None:
    part = metric(0.4, group="robustness", up=True, n=24, eps=huge, clean_accuracy=huge, zero_gradient_fraction=huge)
    record = SOUND.model_copy(
        update={
            "metrics": {**SOUND.metrics, "robust_acc@2": part, "robust_acc@8": part},
        }
    )
    assert isinstance(compute_flags(record), list)
