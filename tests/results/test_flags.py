"""Flags: each has a record that raises it, and none is raised by a sound record."""

from __future__ import annotations

from typing import Any

import pytest
from record_factory import component, make_record, metric

from mibench.api.columns import MetricFlag
from mibench.results.flags import (
    RULES,
    USELESS_BELOW,
    classes_failed,
    compute_flags,
    outside_threat_model,
    raised_by_metrics,
    target_useless,
)
from mibench.results.record import Failure, Record


def controls(**headline: float) -> dict[str, Any]:
    own = make_record().controls
    return {name: {**own[name], "reid@1": metric(headline.get(name, own[name]["reid@1"].value))} for name in own}


def robust(value: float = 0.8, **details: Any) -> dict[str, Any]:
    return {"robust_acc@0.5": metric(value, group="robustness", up=True, n=24, **details)}


def low_robust() -> dict[str, Any]:
    return {**robust(0.1), "robust_acc@2": metric(0.05, group="robustness", up=True, n=24)}


RAISED: dict[str, Record] = {
    "defense-inactive": make_record(self_check={"active": False}),
    "outside-threat-model": make_record(
        components={
            "defense": component("defense", "smooth").model_copy(update={"access": "black-box"}),
            "attack": component("attack", "ppa").model_copy(update={"access": "white-box"}),
        }
    ),
    "target-useless": make_record(metrics={"accuracy": metric(0.15, group="utility", up=True, n=24), **low_robust()}),
    "chosen-by-evaluator": make_record(ledger={"chosen_by": "evaluator:net"}),
    "trained-elsewhere": make_record(
        components={"model": component("model", "smallcnn").model_copy(update={"comes_trained": True})}
    ),
    "classes-failed": make_record(ledger={"failed": {"10": "late", "2": "no finite candidate"}}),
    "accuracy-order": make_record(metrics={"attack_acc@5/net": metric(0.5)}),
    "robust-rises-with-eps": make_record(metrics=robust(0.3)),
    "robust-above-clean": make_record(metrics=robust(0.99)),
    "leakage-above-gold": make_record(leakage=0.95),
    "floor-not-below-gold": make_record(controls=controls(floor=0.9, undefended=0.95)),
    "undefended-not-above-floor": make_record(controls=controls(undefended=0.1)),
    "attack-loss-not-falling": make_record(ledger={"trace": {"loss_first": 1.0, "loss_last": 1.0}}),
    "attack-settings-overridden": make_record(
        components={"attack": component("attack", "ppa").model_copy(update={"overridden": True})}
    ),
    "few-classes": make_record(classes={"0": 4, "1": 5}),
}


def test_every_flag_has_a_case() -> None:
    assert list(RAISED) == [rule.id for rule in RULES]


@pytest.mark.parametrize("identifier", RAISED)
def test_is_raised(identifier: str) -> None:
    found = {flag.id: flag.text for flag in compute_flags(RAISED[identifier])}
    assert found.get(identifier)
    assert set(found) == {identifier}


def test_a_sound_record_has_none() -> None:
    assert compute_flags(make_record()) == []


@pytest.mark.parametrize(
    "record",
    [
        make_record(metrics=robust(flags="hostile")),
        make_record(metrics=robust(flags={"odd": True})),
        make_record(ledger={}),
        make_record(ledger={"failed": {}, "chosen_by": None}),
        make_record(ledger={"trace": {"loss_first": None, "loss_last": "hostile"}}),
        make_record(ledger={"trace": {}}),
        make_record(controls={}),
        make_record(self_check={}),
        make_record(components={}),
        make_record(
            components={
                "defense": component("defense", "smooth").model_copy(update={"access": "black-box"}),
                "attack": component("attack", "ppa").model_copy(update={"access": "labels"}),
            }
        ),
        make_record(metrics={"accuracy": metric(0.2, group="utility", up=True, n=24), **low_robust()}),
    ],
)
def test_absent_or_odd_evidence_raises_nothing(record: Record) -> None:
    assert compute_flags(record) == []


def test_metrics_raise_flags_of_their_own() -> None:
    record = make_record(metrics={"other": metric(0.5, flags=["odd-images", 3, "zero-gradients"])})
    assert [flag.id for flag in compute_flags(record)] == ["odd-images", "zero-gradients"]


def test_flags_of_metrics_have_the_sentence_that_is_announced() -> None:
    grave = {"robust_acc@2": metric(0.2, group="robustness", up=True, n=24, flags=["masked"], gain=0.125)}
    record = make_record(metrics={**robust(flags=["masked"], gain=0.03), **grave})
    announced = [MetricFlag(id="masked", detail="gain", text="{detail:.1%} are masked"), MetricFlag(id="x", detail="y")]
    assert [flag.text for flag in compute_flags(record, announced)] == ["12.5% are masked"]  # the largest
    assert [flag.text for flag in compute_flags(record)] == ["raised by the metric robust_acc@0.5"]
    told = record.model_copy(update={"flags": compute_flags(record, announced)})
    assert compute_flags(told) == told.flags  # where the metric is not installed


def test_flags_of_metrics_stand_before_the_last() -> None:
    record = make_record(metrics=robust(flags=["masked"]), classes={"0": 4, "1": 5}, self_check={"active": False})
    assert [flag.id for flag in compute_flags(record)] == ["defense-inactive", "masked", "few-classes"]


def test_metrics_cannot_flood() -> None:
    record = make_record(metrics={"other": metric(0.5, flags=[f"flag-{place}" for place in range(10_000)])})
    assert len(compute_flags(record)) < 50


def test_a_failed_cell_has_none() -> None:
    record = make_record().model_copy(update={"status": "failed", "failure": Failure(stage="target", error="x")})
    assert compute_flags(record) == []


def test_distances_turn_the_comparison_round() -> None:
    far, near = metric(2.0, up=True, unit="distance"), metric(1.0, up=True, unit="distance")
    middle = metric(1.5, up=True, unit="distance")
    good = make_record(metrics={"reid@1": middle, "reid@5": middle})
    record = good.model_copy(
        update={"controls": {"gold": {"reid@1": near}, "floor": {"reid@1": far}, "undefended": {"reid@1": near}}}
    )
    assert compute_flags(record) == []


@pytest.mark.parametrize("classes", [2, 12])
@pytest.mark.parametrize(("above", "raised"), [(-0.01, True), (0.01, False)])
def test_a_target_is_useless_up_to_a_share_of_the_way_from_guessing_to_knowing(classes, above, raised) -> None:
    guessing = 1 / classes
    accuracy = metric(guessing + (1 - guessing) * (USELESS_BELOW + above), group="utility", up=True, n=24)
    seen = {str(label): label for label in range(classes)}
    assert (target_useless(make_record(metrics={"accuracy": accuracy}, classes=seen)) is not None) is raised


def test_the_first_class_that_failed_is_named() -> None:
    text = classes_failed(RAISED["classes-failed"])
    assert text is not None
    assert text.endswith("class 2: no finite candidate")


def test_a_record_without_an_attack_breaks_no_rule() -> None:
    defense = component("defense", "smooth").model_copy(update={"access": "black-box"})
    assert outside_threat_model(make_record(components={"defense": defense})) is None


@pytest.mark.parametrize(
    ("details", "expected"),
    [([{"gap": 0.25}, {"gap": 0.5}], 0.5), ([{"gap": 0.25}, {}], 0.25), ([{}, {"gap": "x"}], 0.0)],
)
def test_a_flag_of_metrics_shows_the_largest_detail(details, expected) -> None:
    metrics = {f"m{place}": metric(0.5, flags=["odd"], **more) for place, more in enumerate(details)}
    declared = [MetricFlag(id="odd", detail="gap", text="a gap of {detail}")]
    assert raised_by_metrics(make_record(metrics=metrics), declared) == {"odd": f"a gap of {expected}"}


def test_a_metric_cannot_reword_a_flag_of_the_core() -> None:
    found = {
        flag.id: flag.text for flag in compute_flags(make_record(metrics={"x": metric(0.5, flags=["few-classes"])}))
    }
    few = make_record(classes={"0": 4, "1": 5}, metrics={"x": metric(0.5, flags=["few-classes"])})
    assert found == {"few-classes": "raised by the metric x"}
    assert {flag.id: flag.text for flag in compute_flags(few)}["few-classes"].startswith("2 attacked classes")
