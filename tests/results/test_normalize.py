"""Normalised leakage: 0 at the floor, 1 at gold, undefined where the two coincide."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from record_factory import make_record

from mibench.results.normalize import normalized_leakage, record_leakage

NUMBERS = st.floats(-10, 10, allow_nan=False)


@given(NUMBERS, NUMBERS)
def test_ends_of_the_scale(floor: float, gold: float) -> None:
    assume(gold - floor > 1e-6)
    assert normalized_leakage(floor, floor, gold) == 0
    assert normalized_leakage(gold, floor, gold) == 1


@given(NUMBERS, NUMBERS, NUMBERS)
def test_turning_the_metric_round_changes_nothing(value: float, floor: float, gold: float) -> None:
    turned = normalized_leakage(-value, -floor, -gold, higher_is_better=True)
    assert turned == normalized_leakage(value, floor, gold)


@pytest.mark.parametrize("floor", [0.5, 0.6])
def test_no_scale_without_a_gap(floor: float) -> None:
    assert normalized_leakage(0.5, floor, 0.5) is None


def test_of_a_record() -> None:
    assert record_leakage(make_record(leakage=0.3)) == pytest.approx(0.25)
    assert record_leakage(make_record(controls={})) is None


@pytest.mark.parametrize(
    ("lacking", "expected"), [((), 0.25), (("gold",), None), (("floor",), None), (("floor", "gold"), None)]
)
def test_a_record_without_one_of_its_ends_has_no_scale(lacking: tuple[str, ...], expected: float | None) -> None:
    record = make_record(leakage=0.3)
    controls = {name: values for name, values in record.controls.items() if name not in lacking}
    found = record_leakage(record.model_copy(update={"controls": controls}))
    assert found == (expected if expected is None else pytest.approx(expected))


def test_a_failed_cell_has_no_scale() -> None:
    assert record_leakage(make_record().model_copy(update={"metrics": {}})) is None
