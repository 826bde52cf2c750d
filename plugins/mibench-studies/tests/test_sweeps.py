"""How far a defense's strength is swept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mibench_studies.strengths import STRENGTH, one_of_each, sweep
from mibench_studies.studies.utility_matched import UtilityMatched

from mibench.api import StudyContext, UsageError


def context(**settled: float) -> StudyContext:
    return StudyContext(
        protocol="p@1.0",
        undefended="none",
        seeds=(0,),
        defenses={"none": "", "random-labels": "", "loft": "dependency", **dict.fromkeys(settled, "family")},
        settled=lambda name: {STRENGTH[name]: settled[name]},
    )


def values(arms: list, name: str) -> list[float]:
    return [arm.params[STRENGTH[name]] for arm in arms if arm.defense == name]


def test_multiples_of_the_protocols_own_strength() -> None:
    arms = sweep(context(atat=0.5, bido=0.2), (0.25, 1, 4))
    assert values(arms, "atat") == [0.125, 2.0]
    assert values(arms, "bido") == pytest.approx([0.05, 0.8])
    assert [arm.name for arm in arms if arm.defense == "atat"] == ["atat lam=0.125", "atat lam=2"]
    assert all(arm.optional for arm in arms)


def test_a_multiple_is_the_number_that_a_user_would_write() -> None:
    assert values(sweep(context(bido=0.05), (0.1, 0.3)), "bido") == [0.005, 0.015]


def test_a_strength_of_many_digits_is_not_swept_by_itself() -> None:
    assert values(sweep(context(at=2 / 255 / 3), (1.0,)), "at") == []


@pytest.mark.parametrize(("area", "swept"), [(0.8, [0.2, 1.0]), (0.2, [0.05, 0.8]), (1.0, [0.25])])
def test_a_share_of_the_area_ends_at_all_of_it(area: float, swept: list[float]) -> None:
    assert values(sweep(context(midre=area), (0.25, 4.0)), "midre") == pytest.approx(swept)


def test_a_share_of_the_area_stays_above_the_smallest() -> None:
    ctx = context(midre=0.5)
    settled = ctx.settled
    ctx = replace(ctx, settled=lambda name: {**settled(name), "area_min": 0.1})
    assert values(sweep(ctx, (0.1, 0.3, 4.0)), "midre") == pytest.approx([0.1, 0.15, 1.0])  # .05 would be below


def test_the_sign_of_negative_label_smoothing_stays() -> None:
    assert values(sweep(context(negls=-0.05), (0.25, 4.0)), "negls") == pytest.approx([-0.0125, -0.2])


def test_every_defense_once_without_experiments() -> None:
    assert [arm.name for arm in one_of_each(context(at=0.1))] == ["none", "at", "loft"]


def test_only_the_defenses_that_are_asked_for() -> None:
    design = UtilityMatched(defenses=("bido",), factors=(3.0,)).design(context(at=0.1, bido=0.2))
    assert [arm.name for arm in design.arms] == ["none", "bido", "bido lambda_x=0.6"]


def test_a_defense_without_a_strength_is_not_swept() -> None:
    with pytest.raises(UsageError, match=r"'loft' has no strength that could be swept; at, atat, bido"):
        UtilityMatched(defenses=("at", "loft"))
