"""What columns say about each other, by hand: means over judges, and shares of hits from ranks."""

from __future__ import annotations

from typing import Any

import pytest
from record_factory import metric

from mibench.results.agreement import judges_agree, ranks_agree
from mibench.results.averages import COUNTS, average_of
from mibench.results.record import MetricValue


def column(value: float, per_class: list[float | None], n: int = 4, **details: Any) -> MetricValue:
    return metric(0.5, n=n, **details).model_copy(update={"value": value, "per_class": per_class})


def judged(name: str, value: float, per_class: list[float | None], **details: Any) -> list[str]:
    """Return what is wrong with a mean over two judges that say (1, 0) and (.5, 0) of two classes."""
    parts = {
        f"{name}/a": column(0.5, [1.0, 0.0]),
        f"{name}/b": column(0.25, [0.5, 0.0]),
        f"{name.partition('@')[0]}@5/a": column(1.0, [1.0, 1.0]),
    }
    return [found.field for found in judges_agree({name: column(value, per_class, **details), **parts})]


BOTH = {"a": 0.5, "b": 0.25}


@pytest.mark.parametrize(
    ("value", "per_class", "details", "wrong"),
    [
        (0.375, [0.75, 0.0], {}, []),
        (0.375, [0.75, 0.0], {"evaluators": BOTH}, []),
        (0.375, [0.75, 0.0], {"evaluators": {"a": 0.5}}, ["details.evaluators"]),
        (0.5, [0.75, 0.0], {}, ["value"]),
        (0.375, [0.5, 0.25], {}, ["per_class.0", "per_class.1"]),
        (0.375, [0.75, None], {}, ["per_class.1"]),
    ],
)
def test_a_mean_over_judges(value: float, per_class: list, details: dict, wrong: list[str]) -> None:
    assert judged("attack_acc@1", value, per_class, **details) == [f"attack_acc@1.{field}" for field in wrong]


def test_other_shares_are_means_over_judges_where_they_say_so() -> None:
    assert judged("reid@1", 0.9, [0.9, 0.9]) == []
    assert judged("reid@1", 0.9, [0.75, 0.0], evaluators=BOTH) == ["reid@1.value"]


def test_a_mean_without_its_judges_is_believed() -> None:
    assert list(judges_agree({"attack_acc@1": column(0.9, [0.9])})) == []


def test_a_class_that_one_judge_did_not_see_has_no_mean() -> None:
    parts = {"x@1/a": column(0.5, [None, 0.5]), "x@1/b": column(0.5, [0.5, 0.5])}
    mean = column(0.5, [None, 0.5], evaluators={"a": 0.5, "b": 0.5})
    assert list(judges_agree({"x@1": mean, **parts})) == []


@pytest.mark.parametrize(
    ("ranks", "value", "per_class", "counts", "failed", "sound"),
    [
        # two classes with two images each
        ([0, 3, 0, 0], 0.75, [0.5, 1.0], None, 0, True),
        ([0, 3, 0, 0], 0.75, [1.0, 0.5], None, 0, False),
        ([0, 3, 0, 0], 0.5, [0.5, 1.0], None, 0, False),
        # three images of two classes: which class has two is not known, unless it is stated
        ([0, 1, 0], 2 / 3, [0.5, 1.0], None, 0, True),
        ([0, 1, 0], 2 / 3, [1.0, 0.5], None, 0, True),
        ([0, 1, 0], 1 / 3, [0.5, 1.0], None, 0, False),
        ([0, 1, 0], 2 / 3, [0.5, 1.0], [2, 1], 0, True),
        ([0, 1, 0], 2 / 3, [1.0, 0.5], [2, 1], 0, False),
        ([0, 1, 0], 2 / 3, [0.5, 1.0], [2, 2], 0, False),
        ([0, 1, 0], 2 / 3, [0.5, 1.0], [3], 0, False),
        # the attack failed on one of two classes, which has no image and counts as 0
        ([0], 0.5, [1.0, 0.0], None, 1, True),
        ([0], 0.5, [0.0, 1.0], None, 1, True),
        ([0], 0.5, [0.5, 1.0], None, 1, False),
        ([0], 1.0, [1.0, 0.0], None, 1, False),
        ([0], 0.0, [0.0, 0.0], None, 2, False),
        # how many failed is not known: any number up to that of classes without a hit
        ([0], 0.5, [1.0, 0.0], None, None, True),
        ([0, 9], 0.5, [1.0, 0.0], None, None, True),
        ([0, 9], 0.25, [0.5, 0.0], None, None, True),
        ([0, 9], 0.3, [0.5, 0.1], None, None, False),
    ],
)
def test_hits_are_counted_from_ranks(ranks, value, per_class, counts, failed, sound) -> None:
    details = {"ranks": ranks} if counts is None else {"ranks": ranks, COUNTS: counts}
    found = list(ranks_agree({"x@1": column(value, per_class, n=len(ranks), **details)}, failed))
    assert [one.field for one in found] == ([] if sound else ["x@1.value"])


@pytest.mark.parametrize("counts", [5, True, "xx", ["a", "a"], [4.0, 0.0], {"0": 4}, [], [-1, 5], [4]])
def test_counts_that_are_none_contradict_ranks_and_raise_nothing(counts: Any) -> None:
    claimed = column(1.0, [1.0, 1.0], ranks=[0] * 4, **{COUNTS: counts})
    assert [one.field for one in ranks_agree({"x@1": claimed}, 0)] == ["x@1.value"]
    assert average_of(claimed) is None


def test_more_guesses_hit_what_fewer_do_and_other_families_have_ranks_of_their_own() -> None:
    metrics = {
        "x@1": column(0.5, [0.5, 0.5], ranks=[0, 4, 5, 0]),
        "x@5": column(0.75, [1.0, 0.5]),
        "y@1": column(0.1, [0.1, 0.1]),
    }
    assert list(ranks_agree(metrics, 0)) == []
    [wrong] = ranks_agree({**metrics, "x@5": column(1.0, [1.0, 1.0])}, 0)
    assert wrong.field == "x@5.value"


@pytest.mark.parametrize(
    ("ranks", "field"),
    [
        ([], "n"),
        ([0] * 3, "n"),
        ([0, 1, -1, 0], "details.ranks"),
        ([0, 1.0, 1, 0], "details.ranks"),
        ("0100", "details.ranks"),
    ],
)
def test_ranks_that_are_none_are_named(ranks: Any, field: str) -> None:
    [wrong] = ranks_agree({"x@1": column(0.5, [0.5, 0.5], ranks=ranks)})
    assert wrong.field == f"x@1.{field}"
