"""Leakage against accuracy."""

from __future__ import annotations

import pytest
from record_factory import make_record, metric

from mibench.analysis.trade_off import trade_off


def record(defense: str, leakage: float, accuracy: float):
    return make_record(
        defense=defense,
        leakage=leakage,
        metrics={"accuracy": metric(accuracy, group="utility", up=True, n=24)},
    )


def test_points_and_who_is_dominated() -> None:
    points = trade_off([record("none", 0.6, 0.97), record("worse", 0.5, 0.90), record("good", 0.3, 0.95)])
    assert [(point.defense, point.dominated) for point in points] == [("good", False), ("worse", True), ("none", False)]
    assert points[0].leakage_saved == pytest.approx(0.3)
    assert points[0].saved_ci95 == pytest.approx((0.3, 0.3))  # all people alike
    assert points[0].robust == pytest.approx({"0.5": 0.8, "2": 0.4})


def test_equal_points_do_not_dominate_each_other() -> None:
    assert not any(point.dominated for point in trade_off([record("a", 0.3, 0.9), record("b", 0.3, 0.9)]))


def test_architectures_are_not_compared() -> None:
    points = trade_off([make_record(model="small", leakage=0.2), make_record(model="large", leakage=0.4)])
    assert not any(point.dominated for point in points)
