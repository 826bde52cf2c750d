"""What columns say about each other, whatever they are called: ranks about shares of hits, judges about their mean."""

from __future__ import annotations

from typing import Any

import pytest

from mibench.api.quantity import Quantity
from mibench.results.agreement import judges_agree, ranks_agree
from mibench.results.record import MetricValue

RANKS = [0, 3, 1, 0]
"""Two images of each of two classes: hits among one guess .5 and .5, among two .5 and 1, among four all."""


def share(
    value: float, *per_class: float | None, n: int = 4, quantity: Quantity | None = None, **details: Any
) -> MetricValue:
    return MetricValue(
        value=value,
        ci95=None,
        n=4,
        unit="fraction",
        higher_is_better=False,
        group="leakage",
        per_class=list(per_class),
        details=details,
        quantity=quantity,
    )


def recognised(k: int, evaluator: str = "") -> Quantity:
    return Quantity(role="attack_accuracy", base="hit", k=k, evaluator=evaluator)


def test_ranks_give_the_shares_of_their_family_by_hand() -> None:
    sound = {
        "x@1": share(0.5, 0.5, 0.5, ranks=RANKS),
        "x@2": share(0.75, 0.5, 1.0),
        "x@4": share(1.0, 1.0, 1.0),
        "x@1/other": share(0.0, 0.0, 0.0),
        "y@1": share(1.0, 1.0, 1.0),
    }
    assert list(ranks_agree(sound)) == []
    [wrong] = ranks_agree({**sound, "x@2": share(0.5, 0.5, 0.5)})
    assert (wrong.field, wrong.expected) == ("x@2.value", "0.75 of its ranks, and its classes accordingly")


def test_families_are_what_columns_are_not_what_they_are_called() -> None:
    sound = {
        "first": share(0.5, 0.5, 0.5, quantity=recognised(1), ranks=RANKS),
        "among two": share(0.75, 0.5, 1.0, quantity=recognised(2)),
        "by another": share(0.0, 0.0, 0.0, quantity=recognised(2, "net")),
    }
    assert list(ranks_agree(sound)) == []
    [wrong] = ranks_agree({**sound, "among two": share(1.0, 1.0, 1.0, quantity=recognised(2))})
    assert wrong.field == "among two.value"
    no_share = {"temperature@3": share(0.1, 0.1, 0.1, quantity=Quantity(base="temperature"), ranks=RANKS)}
    assert list(ranks_agree(no_share)) == []


@pytest.mark.parametrize("ranks", ["hostile", [0, -1], [0.5], [True], {"0": 1}])
def test_ranks_are_whole_numbers(ranks: object) -> None:
    [wrong] = ranks_agree({"x@1": share(0.5, 0.5, 0.5, ranks=ranks)})
    assert (wrong.field, wrong.expected) == ("x@1.details.ranks", "whole numbers from 0 on")


@pytest.mark.parametrize("ranks", [[], [0], [0] * 5])
def test_ranks_are_as_many_as_images(ranks: list[int]) -> None:
    [wrong] = ranks_agree({"x@1": share(1.0, 1.0, 1.0, ranks=ranks)})
    assert wrong.field == "x@1.n"


MEAN = {
    "attack_acc@1": share(0.5, 0.25, 0.75),
    "attack_acc@1/a": share(0.25, 0.0, 0.5),
    "attack_acc@1/b": share(0.75, 0.5, 1.0),
    "attack_acc@5": share(1.0, 1.0, 1.0),
}


def test_a_mean_over_judges_is_theirs_by_hand() -> None:
    assert list(judges_agree(MEAN)) == []
    [wrong] = judges_agree({**MEAN, "attack_acc@1": share(0.6, 0.25, 0.75)})
    assert (wrong.field, wrong.expected) == ("attack_acc@1.value", "0.5, the mean over a, b")
    [wrong] = judges_agree({**MEAN, "attack_acc@1": share(0.5, 0.5, 0.75)})
    assert (wrong.field, wrong.expected) == ("attack_acc@1.per_class.0", "0.25, the mean over a, b")


def test_a_mean_over_judges_is_found_by_its_role() -> None:
    parts = {
        "ours": share(0.5, 0.5, 0.5, quantity=recognised(1)),
        "by a": share(0.25, 0.25, 0.25, quantity=recognised(1, "a")),
        "by b": share(0.75, 0.75, 0.75, quantity=recognised(1, "b")),
        "by b among 5": share(1.0, 1.0, 1.0, quantity=recognised(5, "b")),
    }
    assert list(judges_agree(parts)) == []
    [wrong] = judges_agree({**parts, "by a": share(0.0, 0.25, 0.25, quantity=recognised(1, "a"))})
    assert wrong.field == "ours.value"


def test_other_shares_are_means_only_if_they_say_so() -> None:
    apart = {"x@1": share(0.9, 0.9, 0.9), "x@1/a": share(0.1, 0.1, 0.1)}
    assert list(judges_agree(apart)) == []
    apart["x@1"] = share(0.9, 0.9, 0.9, evaluators={"a": 0.1})
    assert {wrong.field for wrong in judges_agree(apart)} == {"x@1.value", "x@1.per_class.0", "x@1.per_class.1"}
    stated = {**MEAN, "attack_acc@1": share(0.5, 0.25, 0.75, evaluators={"a": 0.25, "b": 0.5})}
    assert [wrong.field for wrong in judges_agree(stated)] == ["attack_acc@1.details.evaluators"]


def test_a_class_without_a_value_under_one_judge_has_none_in_the_mean() -> None:
    gaps = {
        "attack_acc@1": share(0.5, None, 0.5),
        "attack_acc@1/a": share(0.25, None, 0.25),
        "attack_acc@1/b": share(0.75, 1.0, 0.75),
    }
    assert list(judges_agree(gaps)) == []
    [wrong] = judges_agree({**gaps, "attack_acc@1": share(0.5, 1.0, 0.5)})
    assert (wrong.field, wrong.expected, wrong.got) == ("attack_acc@1.per_class.0", "None, the mean over a, b", 1.0)
