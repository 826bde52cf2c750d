"""Numbers are found by what they are, whether a record states it or its names say it."""

from __future__ import annotations

import pytest
from record_factory import metric

from mibench.api.quantity import Quantity
from mibench.results.columns import attack_accuracies, clean_accuracy, is_share, quantity, radius, robust_columns
from mibench.results.record import MetricValue


def stated(value: float, **fields: object) -> MetricValue:
    return metric(value).model_copy(update={"quantity": Quantity(**fields)})


def test_what_a_record_states_comes_before_what_a_name_says() -> None:
    assert quantity("reid@1").role == "re_identification"
    assert quantity("reid@1", metric(0.5)) == quantity("reid@1")
    assert quantity("reid@1", stated(0.5, base="reid@1")) == Quantity(base="reid@1")


@pytest.mark.parametrize("name", ["attack_acc@5/net", "robust_acc@2", "accuracy", "theirs@1"])
def test_shares(name: str) -> None:
    assert is_share(name, metric(0.5))


@pytest.mark.parametrize("name", ["reid_cosine", "loss_rise/2", "cosine"])
def test_no_shares(name: str) -> None:
    assert not is_share(name, metric(0.5))


def test_a_stated_share_is_one_whatever_it_is_called() -> None:
    assert is_share("recognised", stated(0.5, role="attack_accuracy", k=1))
    assert not is_share("temperature@3", stated(0.5, base="temperature"))


def test_the_exact_radius_comes_first() -> None:
    assert radius("robust_acc@7.9", metric(0.5, eps=0.031)) == 0.031
    assert radius("robust_acc@7.9", metric(0.5, eps="hostile")) == pytest.approx(7.9 / 255)
    assert radius("loss_rise/2", metric(0.5, eps=0.031)) is None
    assert radius("held", stated(0.5, role="robust_accuracy", radius=0.25)) == 0.25


def test_robust_columns_are_sorted_by_radius() -> None:
    found = robust_columns({"robust_acc@10": metric(0.1), "robust_acc@2": metric(0.2), "reid@1": metric(0.3)})
    assert list(found) == ["2", "10"]


def test_accuracies() -> None:
    metrics = {"attack_acc@1": metric(0.5), "attack_acc@1/a": metric(0.4), "attack_acc@5/a": metric(0.9)}
    assert list(attack_accuracies(metrics)) == ["a"]
    assert list(attack_accuracies({"attack_acc@1": metric(0.5)})) == [""]
    assert clean_accuracy(metrics) is None
    assert clean_accuracy({"accuracy": metric(0.9)}) == metric(0.9)


def test_numbers_of_any_name_are_found_by_their_role() -> None:
    metrics = {
        "right": stated(0.9, role="accuracy", k=1),
        "right on training images": stated(1.0, role="accuracy", k=1, part="train"),
        "found by a": stated(0.4, role="attack_accuracy", k=1, evaluator="a"),
        "found by b among 5": stated(0.6, role="attack_accuracy", k=5, evaluator="b"),
        "held": stated(0.3, role="robust_accuracy", radius=2 / 255),
        "held by one": stated(0.8, role="robust_accuracy", radius=1 / 255, attack="pgd"),
    }
    assert clean_accuracy(metrics) is metrics["right"]
    assert attack_accuracies(metrics) == {"a": metrics["found by a"]}
    assert robust_columns(metrics) == {"2": metrics["held"]}
