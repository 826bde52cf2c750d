"""Ranks by paired tests: anchors, Holm's correction, and what rows have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from record_factory import CLASSES, component, make_record, metric

from mibench.leaderboard.ranks import rank
from mibench.leaderboard.row import Row
from mibench.leaderboard.rows import make_rows
from mibench.results.record import Record

stats = pytest.importorskip("scipy.stats")

PEOPLE = np.linspace(-0.15, 0.15, CLASSES)
"""People differ far more than any two rows."""
NOISE = np.random.default_rng(5).normal(0, 0.01, size=(8, CLASSES))


def leaks(defense: str, values: Sequence[float], *, attack: str = "ppa", **more: int) -> Record:
    made = metric(0.5).model_copy(update={"value": float(np.mean(values)), "per_class": [float(v) for v in values]})
    return make_record(defense=defense, attack=attack, metrics={"reid@1": made}, **more)


def ranks(*records: Record) -> list[tuple[str, int]]:
    return [(row.defense, row.rank) for row in rank(make_rows(records))]


def test_rows_whose_intervals_overlap_are_told_apart_person_by_person() -> None:
    one = leaks("a", 0.4 + PEOPLE + NOISE[0])
    other = leaks("b", 0.43 + PEOPLE + NOISE[1])
    [a, b] = [row.leakage.ci95 for row in make_rows([one, other])]
    assert a
    assert b
    assert b[0] < a[1]
    assert ranks(one, other) == [("a", 1), ("b", 2)]


def test_all_that_is_not_told_from_the_anchor_shares_its_rank_whatever_stands_between() -> None:
    """c is worse than b by its mean, but too uncertain to be told from a; b is not."""
    wild = np.where(np.arange(CLASSES) % 2, 0.5, -0.5)
    made = ranks(
        leaks("a", 0.40 + PEOPLE + NOISE[0]),
        leaks("b", 0.45 + PEOPLE + NOISE[1]),
        leaks("c", 0.46 + wild * 0.8),
        leaks("d", 0.60 + PEOPLE + NOISE[2]),
    )
    assert made == [("a", 1), ("c", 1), ("b", 3), ("d", 4)]


def test_holm_corrects_over_all_rows_that_might_have_been_the_anchor() -> None:
    """A difference that one t test finds at 4 % is not found among four rows."""
    gap = NOISE[3] - NOISE[3].mean()
    shift = stats.t.isf(0.02, CLASSES - 1) * gap.std(ddof=1) / np.sqrt(CLASSES)
    anchor = leaks("a", 0.4 + PEOPLE)
    close = leaks("b", 0.4 + PEOPLE + gap + shift)
    assert stats.ttest_1samp(gap + shift, 0).pvalue == pytest.approx(0.04)
    assert ranks(anchor, close) == [("a", 1), ("b", 2)]
    others = [leaks(name, 0.41 + PEOPLE + np.roll(PEOPLE, place + 3)) for place, name in enumerate("cd")]
    assert dict(ranks(anchor, close, *others))["b"] == 1


def test_rows_are_compared_under_the_attacks_of_both() -> None:
    """b leaks more under a further attack alone: that cannot tell it from a, which nobody attacked with it."""
    plain = 0.4 + PEOPLE
    made = ranks(leaks("a", plain), leaks("b", plain), leaks("b", 0.9 + NOISE[4], attack="strong"))
    assert made == [("a", 1), ("b", 1)]
    both = ranks(
        leaks("a", plain),
        leaks("a", plain + NOISE[5], attack="strong"),
        leaks("b", plain),
        leaks("b", 0.9 + NOISE[4], attack="strong"),
    )
    assert both == [("a", 1), ("b", 2)]


def test_settings_and_not_names_make_an_attack_common() -> None:
    stronger = component("attack", "ppa", steps=500)
    other = leaks("b", 0.8 + PEOPLE)
    other = other.model_copy(update={"components": {**other.components, "attack": stronger}})
    assert ranks(leaks("a", 0.4 + PEOPLE), other) == [("a", 1), ("b", 1)]


def test_a_row_that_leaks_less_in_common_is_not_told_from_the_anchor() -> None:
    """b has more leakage by a second attack, and less under the one that both met."""
    made = ranks(
        leaks("a", 0.4 + PEOPLE), leaks("b", 0.3 + PEOPLE + NOISE[6]), leaks("b", 0.9 + NOISE[7], attack="strong")
    )
    assert made == [("a", 1), ("b", 1)]


def test_the_difference_to_the_undefended_target_is_paired_with_its_control() -> None:
    plain = metric(0.6)
    made = leaks("a", np.asarray(plain.per_class, dtype=float) - 0.2 + NOISE[0])
    [row] = make_rows([made])
    expected = stats.ttest_1samp(-0.2 + NOISE[0], 0)
    assert row.difference
    assert row.difference.value == pytest.approx((-0.2 + NOISE[0]).mean())
    assert row.difference.ci95 == pytest.approx(tuple(expected.confidence_interval()))
    assert row.difference.p == pytest.approx(expected.pvalue)
    assert (row.difference.people, row.difference.seeds, row.difference.attacks) == (CLASSES, (0,), 1)


def test_of_distances_the_larger_one_is_better_and_its_difference_positive() -> None:
    def away(defense: str, value: float) -> Record:
        per_class = [value + 3 * float(person) + float(noise) for person, noise in zip(PEOPLE, NOISE[0], strict=True)]
        own = metric(value, up=True, unit="distance").model_copy(update={"per_class": per_class})
        made = make_record(defense=defense, metrics={"reid@1": own})
        control = metric(1.0, up=True, unit="distance").model_copy(update={"per_class": [1 + 3 * p for p in PEOPLE]})
        return made.model_copy(update={"controls": {**made.controls, "undefended": {"reid@1": control}}})

    first, second = rank(make_rows([away("near", 1.2), away("far", 5.0)]))
    assert [(row.defense, row.rank) for row in (first, second)] == [("far", 1), ("near", 2)]
    assert first.difference
    assert first.difference.value == pytest.approx(4 + NOISE[0].mean())


def test_the_interval_of_a_worst_case_is_that_of_the_maximum() -> None:
    """Two attacks with mirrored people: in every resample the larger one counts, and it is never below the mean."""
    up, down = 0.5 + PEOPLE, 0.5 - PEOPLE
    row: Row
    [row] = make_rows([leaks("a", up), leaks("a", down, attack="other")])
    assert row.leakage.ci95
    assert row.leakage.ci95[0] == pytest.approx(0.5, abs=0.003)
    assert row.maximum
    assert row.maximum.bias == pytest.approx(np.sqrt(2 / np.pi) * PEOPLE.std() / np.sqrt(CLASSES), rel=0.1)
    assert row.maximum.corrected == pytest.approx(row.leakage.value - row.maximum.bias)
    assert row.maximum.best == pytest.approx({"ppa": 0.5, "other": 0.5}, abs=0.05)
