"""Means over images from the means of classes, against all ways to spread images over classes."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import pytest
from record_factory import metric

from mibench.results.averages import COUNTS, Average, average_of
from mibench.results.columns import is_share
from mibench.results.record import MetricValue


def of_classes(per_class: list[float | None], n: int, **details: object) -> MetricValue:
    return metric(0.5, **details).model_copy(update={"per_class": per_class, "n": n})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", True),
        ("attack_acc@1/net", True),
        ("reid@5", True),
        ("robust_acc@2", True),
        ("robust_acc@eps=2/255", True),
        ("reid_cosine", False),
        ("seconds", False),
    ],
)
def test_what_is_a_share(name: str, expected: bool) -> None:
    assert is_share(name, metric(0.5)) is expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.3, 0.3, True),
        (0.0, 1e-12, True),
        (0.0, 1.5e-12, False),
        (0.0, 0.5, False),
        (1.0, 1.0 + 1e-9, False),
        (1e6, 1e6 + 5e-7, True),
        (-1e6, -1e6 + 5e-7, True),
    ],
)
def test_a_mean_is_determined_within_rounding(low: float, high: float, expected: bool) -> None:
    assert Average(low, high).exact is expected


@pytest.mark.parametrize("n", range(1, 12))
def test_the_bounds_are_the_least_and_the_most_over_all_ways_to_spread_the_images(n: int) -> None:
    values = [Fraction(1, 4), Fraction(3, 4), Fraction(0), Fraction(1)]
    base, rest = divmod(n, len(values))
    counts = [base + 1] * rest + [base] * (len(values) - rest)
    means = [sum(v * c for v, c in zip(values, way, strict=True)) / n for way in permutations(counts)]
    made = average_of(of_classes([None, *(float(value) for value in values)], n))
    assert made is not None
    assert made.low == pytest.approx(float(min(means)), abs=1e-15)
    assert made.high == pytest.approx(float(max(means)), abs=1e-15)


@pytest.mark.parametrize(("per_class", "n"), [([], 4), ([None, None], 4), ([0.5], 0), ([0.5, 0.5], -2)])
def test_nothing_to_average(per_class: list[float | None], n: int) -> None:
    assert average_of(of_classes(per_class, n)) is None


def test_one_image_is_enough() -> None:
    assert average_of(of_classes([0.5], 1)) == (0.5, 0.5)
    assert average_of(of_classes([0.5, None], 1, **{COUNTS: [1, 0]})) == (0.5, 0.5)


def test_stated_counts_weigh_the_classes() -> None:
    made = average_of(of_classes([1.0, 0.0, None], 4, **{COUNTS: [3, 1, 0]}))
    assert made == (0.75, 0.75)


def test_a_class_with_a_value_and_no_image_weighs_as_much_as_the_others_do() -> None:
    # 4 images of two classes, all hit; the attack failed on a third, which counts as two that were missed.
    assert average_of(of_classes([1.0, 1.0, 0.0], 4, **{COUNTS: [3, 1, 0]})) == pytest.approx((4 / 6, 4 / 6))


@pytest.mark.parametrize(
    "counts",
    [[2, 2], [2, 1, 0], [5, -1, 0], [2.0, 2, 0], [True, 3, 0], "310", {"a": 4}, [3, 0, 1]],
    ids=[
        "too few",
        "another sum",
        "negative",
        "no whole number",
        "a truth value",
        "text",
        "mapping",
        "without a value",
    ],
)
def test_counts_that_do_not_fit_are_refused(counts: object) -> None:
    assert average_of(of_classes([1.0, 0.0, None], 4, **{COUNTS: counts})) is None


def test_no_image_at_all_has_no_mean() -> None:
    assert average_of(of_classes([0.0, 0.0], 0, **{COUNTS: [0, 0]})) is None


def test_a_class_without_images_may_count_as_another_number_than_0():
    """Three images of 2 and one of 4 are 2.5 on average, of two classes; the third counts as 1.44."""
    made = average_of(of_classes([2.0, 4.0, 1.44], 4, **{COUNTS: [3, 1, 0]}))
    assert made == pytest.approx(((2 * 2.5 + 1.44) / 3,) * 2)
