"""Rows of protocols whose private people are others in other seeds."""

from __future__ import annotations

import numpy as np
import pytest
from record_factory import CLASSES, make_record, metric

from mibench.leaderboard.ranks import rank
from mibench.leaderboard.rows import make_rows
from mibench.results.record import Record

stats = pytest.importorskip("scipy.stats")

NOISE = np.random.default_rng(2).normal(0, 0.02, size=(2, CLASSES))


def cell(defense: str, level: float, seed: int, *, people: int = CLASSES) -> Record:
    """Return a record of seed ``seed``, whose fold is ``seed % 2`` and whose people are of that fold alone."""
    fold = seed % 2
    values = [level + float(noise) if place < people else None for place, noise in enumerate(NOISE[fold])]
    present = [value for value in values if value is not None]
    own = metric(level).model_copy(update={"per_class": values, "value": float(np.mean(present))})
    classes = {str(label): 100 * (fold + 1) + label for label in range(CLASSES)}
    made = make_record(defense=defense, seed=seed, metrics={"reid@1": own}, classes=classes)
    plain = metric(0.6).model_copy(update={"per_class": [0.6 if value is not None else None for value in values]})
    return made.model_copy(update={"controls": {**made.controls, "undefended": {"reid@1": plain}}})


def test_people_of_both_folds_count_and_a_label_is_nobody() -> None:
    [row] = make_rows([cell("a", 0.2, 0), cell("a", 0.4, 1), cell("a", 0.2, 2)])
    first, second = 0.2 + NOISE[0].mean(), 0.4 + NOISE[1].mean()
    assert row.classes == 2 * CLASSES
    assert row.leakage.value == pytest.approx((first + second) / 2)  # and not two thirds of the fold with two seeds
    assert row.leakage.ci95
    assert row.leakage.ci95[1] - row.leakage.ci95[0] < 0.03  # folds are resampled apart: their levels add no width
    assert row.difference
    assert (row.difference.people, row.difference.seeds) == (24, (0, 1, 2))
    assert row.difference.value == pytest.approx((first + second) / 2 - 0.6)
    within = np.concatenate([NOISE[0] - NOISE[0].mean(), NOISE[1] - NOISE[1].mean()])
    error = np.sqrt((within**2).sum() / 22 / 24)  # both seeds of fold 0 have the same values
    half = stats.t.ppf(0.975, 22) * error
    assert row.difference.ci95 == pytest.approx((row.difference.value - half, row.difference.value + half))


def test_folds_of_unequal_size_count_by_their_people() -> None:
    [row] = make_rows([cell("a", 0.2, 0), cell("a", 0.4, 1, people=4)])
    everyone = np.concatenate([0.2 + NOISE[0], 0.4 + NOISE[1][:4]])
    assert row.leakage.value == pytest.approx(everyone.mean())


def test_an_attack_on_one_fold_alone_is_no_worst_case_of_a_row() -> None:
    """Its mean is over other people than the interval; a value outside of its own interval would come of it."""
    once = cell("a", 0.9, 0)
    stronger = once.model_copy(update={"cell": once.cell.model_copy(update={"attack": "stronger"})})
    [row] = make_rows([cell("a", 0.2, 0), cell("a", 0.4, 1), stronger])
    assert row.worst_attack != "stronger"
    assert row.leakage.value == pytest.approx((0.2 + NOISE[0].mean() + 0.4 + NOISE[1].mean()) / 2)
    assert row.leakage.ci95
    assert row.leakage.ci95[0] < row.leakage.value < row.leakage.ci95[1]
    [row] = make_rows([cell("a", 0.2, 0), stronger])
    assert row.worst_attack == "stronger"


def test_rows_with_one_fold_in_common_are_compared_on_it() -> None:
    """b looks worse over both folds; on the one that both have there is no difference."""
    rows = make_rows([cell("a", 0.2, 0), cell("b", 0.2, 0), cell("b", 0.9, 1)])
    assert [(row.defense, row.rank) for row in rank(rows)] == [("a", 1), ("b", 1)]
