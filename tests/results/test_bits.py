"""Bits against the places of the right person, by hand."""

from __future__ import annotations

from math import log2
from typing import Any

import pytest
from record_factory import metric

from mibench.results.bits import bits_agree
from mibench.results.record import MetricValue

BLIND = 2 - log2(24) / 4
"""What a blind guess among four people has: places 1 to 4 have 2, 1, 2 - log2(3) and 0 bits."""


def bits(value: float, per_class: list[float | None], n: int = 4, **details: Any) -> MetricValue:
    plain = metric(0.5, n=n, unit="bits", **details)
    return plain.model_copy(update={"value": value, "per_class": per_class})


def wrong(column: MetricValue, failed: int | None = 0) -> list[str]:
    return [found.field for found in bits_agree({"x": column}, failed)]


@pytest.mark.parametrize(
    ("value", "per_class", "sound"),
    [
        (1.0, [0.0, 2.0], True),
        (2.0, [2.0, 2.0], True),
        (2.0, [2.1, 1.9], False),
        (2.1, [2.0, 2.0], False),
        (0.0, [-0.1, 0.1], False),
        (50.0, [50.0, 50.0], False),
    ],
)
def test_bits_are_from_none_to_those_of_all_people(value: float, per_class: list, sound: bool) -> None:
    assert wrong(bits(value, per_class, among=4)) == ([] if sound else ["x"])
    assert wrong(bits(value, per_class)) == []  # of something else than people


@pytest.mark.parametrize(
    ("places", "value", "per_class", "sound"),
    [
        ([1, 2, 4, 1], 1.25, [1.5, 1.0], True),
        ([1, 2, 4, 1], 1.25, [1.0, 1.5], False),
        ([1, 2, 4, 1], 1.25, [1.5, None, 1.0], True),
        ([1, 2, 4, 1], 1.3, [1.5, 1.0], False),
        ([1, 2, 4, 4], 1.25, [1.5, 1.0], False),
        ([1.0, 2.0, 4, 1], 1.25, [1.5, 1.0], True),
    ],
)
def test_places_give_bits(places: list, value: float, per_class: list, sound: bool) -> None:
    assert wrong(bits(value, per_class, among=4, own_ranks=places)) == ([] if sound else ["x.value"])


def test_tied_people_share_what_their_places_are_worth() -> None:
    half = (2 + 1) / 2  # places 1 and 2
    third = (2 + 1 + 2 - log2(3)) / 3  # places 1 to 3
    tied = {"among": 4, "own_ranks": [1.5, 2, 2.5, 2], "own_tied": [1, 2, 3, 0]}
    assert wrong(bits((half + third + BLIND + 1) / 4, [(half + third) / 2, (BLIND + 1) / 2], **tied)) == []
    assert wrong(bits((half + third + BLIND + 1) / 4, [(half + 1) / 2, (BLIND + third) / 2], **tied)) == ["x.value"]


def test_a_class_on_which_the_attack_failed_counts_as_a_blind_guess() -> None:
    told = {"among": 4, "own_ranks": [1, 2]}
    sound = bits((2 + 1 + BLIND) / 3, [2.0, BLIND, 1.0], n=2, **told)
    assert wrong(sound, failed=1) == wrong(sound, failed=None) == []
    assert wrong(sound, failed=0) == ["x.value"]
    assert wrong(bits(1.0, [2.0, 0.0, 1.0], n=2, **told), failed=1) == ["x.value"]


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"among": 0}, "details.among"),
        ({"among": "many"}, "details.among"),
        ({"among": True}, "details.among"),
        ({"own_ranks": 5}, "details.own_ranks"),
        ({"own_ranks": [1, 2, 5, 1]}, "details.own_ranks"),
        ({"own_ranks": [0, 2, 4, 1]}, "details.own_ranks"),
        ({"own_ranks": [1.5, 2, 4, 1]}, "details.own_ranks"),
        ({"own_ranks": [True, 2, 4, 1]}, "details.own_ranks"),
        ({"own_ranks": [1, float("nan"), 4, 1]}, "details.own_ranks"),
        ({"own_ranks": [1, 2, 4, 1], "own_tied": [0, 0, 1, 0]}, "details.own_ranks"),
        ({"own_ranks": [1, 2, 4, 1], "own_tied": [2, 0, 0, 0]}, "details.own_ranks"),
        ({"own_ranks": [1, 2, 4, 1], "own_tied": [0, 0.0, 0, 0]}, "details.own_ranks"),
        ({"own_ranks": [1, 2, 4, 1], "own_tied": [0]}, "details.own_tied"),
        ({"own_ranks": [1, 2, 4, 1], "own_tied": None}, "details.own_tied"),
        ({"own_ranks": [1, 2, 4]}, "n"),
        ({"own_ranks": []}, "n"),
    ],
)
def test_details_that_cannot_be_are_named(details: dict[str, Any], field: str) -> None:
    assert wrong(bits(1.25, [1.5, 1.0], **{"among": 4, **details})) == [f"x.{field}"]
