"""What rules about numbers say, and where exactly they begin to."""

from __future__ import annotations

from typing import Any

import pytest
from record_factory import CLASSES, PROTOCOL_TEXT, ledger, make_record, metric

from mibench.leaderboard import number_rules as rules
from mibench.leaderboard.rows import make_rows
from mibench.protocol.load import parse_protocol
from mibench.results.record import MetricValue, Record

PROTOCOL = parse_protocol(PROTOCOL_TEXT)
SOUND = make_record()


def of(base: MetricValue, **changes: Any) -> MetricValue:
    return base.model_copy(update=changes)


def with_column(name: str, column: MetricValue) -> Record:
    return SOUND.model_copy(update={"metrics": {**SOUND.metrics, name: column}})


def said(rule: Any, record: Record) -> list[str]:
    return [str(problem) for problem in rule(record, PROTOCOL)]


def test_a_fraction_outside_of_its_range_is_named_and_no_other() -> None:
    record = with_column("x", of(metric(0.5), per_class=[0.0, None, 1.0, 1.5]))
    (text,) = said(rules.fractions_are_fractions, record)
    assert "metrics.x" in text
    assert "1.5" in text
    assert said(rules.fractions_are_fractions, with_column("x", of(metric(0.5), per_class=[0.0, None, 1.0]))) == []


@pytest.mark.parametrize("place", [{"value": 1e160}, {"per_class": [0.5, None, -1e160]}, {"ci95": (0.0, 1e160)}])
def test_a_number_too_large_to_compute_with_is_named(place: dict[str, Any]) -> None:
    (text,) = said(rules.sizes_are_possible, with_column("x", of(metric(0.5, unit="bits"), **place)))
    assert text.startswith("metrics.x: expected numbers from -1e+15 to 1e+15, got ")
    assert "1e+160" in text


def test_numbers_up_to_the_largest_are_computed_with() -> None:
    largest = of(metric(0.5, unit="operations"), value=1e15, per_class=[1e15, -1e15, None])
    assert said(rules.sizes_are_possible, with_column("x", largest)) == []
    (text,) = said(rules.sizes_are_possible, make_record(normalized_leakage=-1e300))
    assert text.startswith("normalized_leakage: ")


def test_a_wrong_normalised_leakage_is_named() -> None:
    (text,) = said(rules.normalisation_fits, make_record(normalized_leakage=0.1))
    assert text.startswith("normalized_leakage: ")


@pytest.mark.parametrize(
    ("per_class", "ci95", "sound"),
    [
        ([0.5], None, True),
        ([0.5], (0.4, 0.6), False),
        ([0.5, 0.5], None, False),
        ([0.5, 0.5], (0.5, 0.5), True),
        ([0.5, 0.5], (0.5, 0.5 + 1e-8), False),
        ([1e6, 1e6], (1e6, 1e6 + 1e-4), True),
    ],
)
def test_intervals_are_those_of_the_classes(per_class: list[float], ci95: Any, sound: bool) -> None:
    record = with_column("x", of(metric(0.5), per_class=per_class, ci95=ci95, unit="seconds"))
    assert (said(rules.intervals_fit, record) == []) is sound


@pytest.mark.parametrize(
    ("value", "n", "expected"),
    [
        (0.5, 4, []),
        (0.6, 4, ["0.5 from its per-class values"]),
        (0.6, 3, []),
        (0.7, 3, ["0.3333333333333333 to 0.6666666666666666 from its per-class values"]),
        (0.5, 0, ["values of at least one class and counts of 0 images"]),
    ],
)
def test_means_are_those_of_the_classes(value: float, n: int, expected: list[str]) -> None:
    found = list(map(str, rules.average_fits("x", of(metric(0.5), value=value, n=n, per_class=[0.0, 1.0], ci95=None))))
    assert len(found) == len(expected)
    assert all(words in text for words, text in zip(expected, found, strict=True))


def test_rounding_grows_with_the_numbers() -> None:
    large = of(metric(0.5), value=1e6 + 1e-4, n=4, per_class=[1e6, 1e6], ci95=(1e6, 1e6))
    assert list(rules.average_fits("x", large)) == []
    (text,) = map(str, rules.average_fits("x", of(large, value=1e6, ci95=(1e6 + 1, 1e6 + 2))))
    assert text.startswith("x.ci95: ")


def test_classes_that_failed_are_known_of_the_attack_and_not_of_controls() -> None:
    # Both images hit, of two classes; the third has none, so the attack failed on it, and the ledger says so or not.
    ranked = of(metric(0.5, ranks=[0, 0]), value=2 / 3, n=2, per_class=[1.0, 1.0, 0.0])
    alone = SOUND.model_copy(update={"metrics": {"reid@1": ranked}, "controls": {}})
    assert len(said(rules.ranks_fit, alone)) == 1
    failed = make_record(ledger=ledger(10, 5, failed={"2": "nothing to deliver"}))
    assert said(rules.ranks_fit, failed.model_copy(update={"metrics": {"reid@1": ranked}, "controls": {}})) == []
    control = SOUND.model_copy(update={"metrics": {}, "controls": {"gold": {"reid@1": ranked}}})
    assert said(rules.ranks_fit, control) == []


def test_a_class_on_which_the_attack_failed_may_count_as_a_blind_guess() -> None:
    column = of(metric(0.5, unit="bits"), per_class=[1.4] * CLASSES, n=CLASSES - 1)
    failed = make_record(ledger=ledger(10, 5, failed={"2": "nothing to deliver"}))
    record = failed.model_copy(update={"metrics": {"id_bits": column}, "controls": {}})
    assert said(rules.images_are_counted, record) == []
    assert len(said(rules.images_are_counted, with_column("id_bits", column))) > 0


@pytest.mark.parametrize(
    ("per_class", "n", "expected"),
    [
        ([0.5] * CLASSES, CLASSES, ""),
        ([0.5] * CLASSES, CLASSES - 1, f"at least {CLASSES} images"),
        ([0.0] + [0.5] * (CLASSES - 1), CLASSES - 1, ""),
        ([0.5] + [None] * (CLASSES - 1), 1, ""),
        ([0.0] + [None] * (CLASSES - 1), 0, "at least 1 images"),
        ([0.5] * 3, 3, f"{CLASSES} values"),
    ],
)
def test_a_class_with_a_share_has_an_image(per_class: list[float | None], n: int, expected: str) -> None:
    column = of(metric(0.5, group="dependency", unit="cosine"), per_class=per_class, n=n)
    found = [text for text in said(rules.images_are_counted, with_column("x", column)) if "metrics.x." in text]
    assert len(found) == bool(expected)
    assert not expected or expected in found[0]


def test_gold_is_of_all_test_images() -> None:
    gold = SOUND.controls["gold"]
    fewer = {name: of(column, n=column.n - 1) for name, column in gold.items()}
    found = said(rules.images_are_counted, SOUND.model_copy(update={"controls": {**SOUND.controls, "gold": fewer}}))
    assert any("controls.gold.reid@1.n" in text and f"test images of {CLASSES} classes" in text for text in found)


@pytest.mark.parametrize(
    ("factor", "sound"), [(1.0, True), (1.0009, True), (1.002, False), (0.99, False), (2.0, False)]
)
def test_a_radius_is_the_one_in_its_name(factor: float, sound: bool) -> None:
    column = metric(0.4, group="robustness", up=True, n=24, eps=factor * 2 / 255)
    assert (said(rules.radii_fit, with_column("robust_acc@2", column)) == []) is sound


@pytest.mark.parametrize(
    ("name", "changes", "wrong"),
    [
        ("reid@1", {}, 0),
        ("reid@1", {"value": 0.9}, 1),
        ("reid@1", {"per_class": [0.9] * CLASSES}, 1),
        ("unknown", {}, 1),
    ],
)
def test_a_cell_without_a_defense_is_its_own_control(name: str, changes: dict[str, Any], wrong: int) -> None:
    record = make_record(defense="none")
    controls = {"undefended": {name: of(record.metrics["reid@1"], **changes)}}
    assert len(said(rules.undefended_is_undefended, record.model_copy(update={"controls": controls}))) == wrong


def test_the_worst_attack_comes_nearest_where_less_leakage_is_a_larger_number() -> None:
    distance = {"near": 1.0, "far": 3.0}
    records = [
        make_record(attack=name, metrics={"reid@1": metric(value, unit="distance", up=True)})
        for name, value in distance.items()
    ]
    assert [row.worst_attack for row in make_rows(records)] == ["near"]


@pytest.mark.parametrize("missing", ["floor", "gold"])
def test_no_scale_with_one_end_missing(missing: str) -> None:
    controls = {name: columns for name, columns in SOUND.controls.items() if name != missing}
    [row] = make_rows([SOUND.model_copy(update={"controls": controls})])
    assert row.normalized is None


def test_gold_is_one_picture_of_each_where_people_are_compared_by_portraits() -> None:
    portraits = parse_protocol(PROTOCOL_TEXT + "gallery: {images: portraits, distractors: 5}\n")
    one = metric(1.0, n=CLASSES, images_per_class=[1] * CLASSES)
    record = make_record(controls={**SOUND.controls, "gold": {"reid@1": one}})
    assert not [one for one in rules.images_are_counted(record, portraits) if one.field.startswith("controls.gold")]
    assert [one for one in rules.images_are_counted(record, PROTOCOL) if one.field.startswith("controls.gold")]
