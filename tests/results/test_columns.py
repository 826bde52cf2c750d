"""Names of metric columns."""

from __future__ import annotations

import pytest
from record_factory import metric

from mibench.results.columns import attack_accuracies, clean_accuracy, epsilon, robust_columns, top_k


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("attack_acc@5/res/net", ("attack_acc", 5, "res/net")),
        ("reid@1", ("reid", 1, "")),
        ("accuracy", ("accuracy", 1, "")),
        ("accuracy@5", ("accuracy", 5, "")),
        ("robust_acc@2", None),
        ("robust_acc@eps=2/255", None),
        ("reid_cosine", None),
    ],
)
def test_top_k(name: str, expected: tuple[str, int, str] | None) -> None:
    assert top_k(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("robust_acc@2", 2 / 255),
        ("robust_acc@0.25", 0.25 / 255),
        ("robust_acc@eps=2/255", 2 / 255),
        ("robust_acc@1/0", 1 / 255),
        ("robust_acc", None),
        ("robust_radius@2", None),
        ("reid@1", None),
    ],
)
def test_epsilon(name: str, expected: float | None) -> None:
    assert epsilon(name) == (None if expected is None else pytest.approx(expected))


def test_stated_radius_comes_first() -> None:
    assert epsilon("robust_acc@7.9", metric(0.5, eps=0.031)) == 0.031
    assert epsilon("robust_acc@7.9", metric(0.5, eps="hostile")) == pytest.approx(7.9 / 255)


def test_robust_columns_are_sorted_by_radius() -> None:
    found = robust_columns({"robust_acc@10": metric(0.1), "robust_acc@2": metric(0.2), "reid@1": metric(0.3)})
    assert list(found) == ["2", "10"]


def test_accuracies() -> None:
    metrics = {"attack_acc@1": metric(0.5), "attack_acc@1/a": metric(0.4), "attack_acc@5/a": metric(0.9)}
    assert list(attack_accuracies(metrics)) == ["a"]
    assert list(attack_accuracies({"attack_acc@1": metric(0.5)})) == [""]
    assert clean_accuracy(metrics) is None
    assert clean_accuracy({"accuracy": metric(0.9)}) == metric(0.9)
