"""Intervals over classes, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mibench.api.quantity import Quantity
from mibench.results.intervals import class_interval, metric_value

FRACTIONS = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize("classes", [5, 20, 100])
def test_agrees_with_scipy(classes: int) -> None:
    pytest.importorskip("scipy", minversion="1.15")
    from scipy import stats

    values = np.random.default_rng(classes).beta(2, 3, classes)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(0)
    ).confidence_interval
    ours = class_interval(list(values))
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.12 * values.std() / math.sqrt(classes) + 1e-3)


def test_agrees_with_the_normal_limit() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    low, high = class_interval(list(values)) or (0, 0)
    expected = 1.96 * values.std() / math.sqrt(400)
    assert values.mean() - low == pytest.approx(expected, rel=0.08)
    assert high - values.mean() == pytest.approx(expected, rel=0.08)


def test_the_stream_of_draws_is_frozen() -> None:
    # Published records state intervals to the last digit, and a board computes them again.
    made = class_interval([math.sqrt(place) for place in range(1, 13)])
    assert made == pytest.approx((2.014033958875898, 2.833764409972087), rel=1e-14)


def test_two_classes_give_their_own_range() -> None:
    # Three outcomes with chances 1/4, 1/2, 1/4: both tails of 2.5 % lie at the extremes.
    assert class_interval([0.0, 1.0]) == (0.0, 1.0)


def test_equal_classes_have_no_width() -> None:
    assert class_interval([0.25] * 7) == (0.25, 0.25)


def test_absent_classes_are_skipped() -> None:
    assert class_interval([0.1, None, 0.4, 0.6, None]) == class_interval([0.1, 0.4, 0.6])


@pytest.mark.parametrize("values", [[], [0.5], [None, 0.5, None]])
def test_one_class_has_no_interval(values: list[float | None]) -> None:
    assert class_interval(values) is None


@given(st.lists(FRACTIONS, min_size=2, max_size=15))
@settings(max_examples=25, deadline=None)
def test_lies_within_the_classes_and_repeats(values: list[float]) -> None:
    low, high = class_interval(values) or (0, 0)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert class_interval(values) == (low, high)


def test_a_measurement_becomes_a_metric() -> None:
    row = {"name": "x", "value": 0.5, "unit": "fraction", "higher_is_better": False, "n": 4, "per_class": [0, 1, None]}
    made = metric_value(row, "leakage")
    assert (made.value, made.ci95, made.group, made.per_class) == (0.5, (0.0, 1.0), "leakage", [0.0, 1.0, None])
    assert made.details == {}


@pytest.mark.parametrize("stated", [{"role": "re_identification", "base": "reid", "k": 5}, {"base": "hit"}])
def test_what_a_measurement_says_it_measures_is_kept(stated: dict[str, object]) -> None:
    row = {"value": 0.5, "n": 2, "unit": "fraction", "higher_is_better": False, "per_class": [0.5]}
    found = metric_value({**row, "quantity": stated}, "leakage").quantity
    assert found == Quantity(**stated)  # type: ignore[arg-type]
    assert all(metric_value({**row, **other}, "leakage").quantity is None for other in ({}, {"quantity": None}))
