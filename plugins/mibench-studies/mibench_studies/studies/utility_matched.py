"""Leakage at equal accuracy: sweeps of each defense's strength, on validation people.

Shapes: D resamples, K classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

from mibench.api import Answer, CellResult, Design, Figure, Findings, Study, StudyContext, StudyEvidence, UsageError
from mibench_studies.figures import canvas, finished, scatter
from mibench_studies.frames import arms_frame, as_table, targets_frame
from mibench_studies.strengths import STRENGTH, one_of_each, sweep

Floats = NDArray[np.float64]
LEAST = 8
"""Attacked people behind an interval."""


@dataclass(frozen=True, kw_only=True)
class UtilityMatched(Study):
    """The least leakage of each defense among its settings that are accurate enough, and the area under the curve.

    A defense's curve gives, for each accuracy it is asked to keep, the least leakage of its settings that keep it,
    plain training being one of them; matched leakage is the curve at plain training's accuracy less ``loss``, and the
    area is the mean of the curve from there up to plain training's accuracy. Intervals resample people, the same for
    all arms. Choosing the best of several settings makes leakage look lower; the same choice is made in each resample.

    Attributes:
        defenses: names; all that have a strength if empty.
        factors: multiples of each defense's strength under the protocol; 1 is always there.
        loss: accuracy that may be lost.
        margin: leakage, as a share of the way from floor to gold, below which a difference does not matter.
        draws: resamples of people.

    Raises:
        UsageError: for a defense that has no strength.
    """

    claim: ClassVar[str] = "Some defense leaks less than plain training at equal accuracy."
    rule: ClassVar[str] = (
        "It holds if for one defense at least the interval of its matched leakage minus that of plain training lies"
        " below 0, at 95 % over all defenses (Bonferroni). It does not hold if all intervals lie above minus the"
        " margin, a share of the way from floor to gold. Else it cannot be told."
    )
    variant: ClassVar[Literal["test", "validation"]] = "validation"

    defenses: tuple[str, ...] = ()
    factors: tuple[Annotated[float, Gt(0)], ...] = (0.1, 0.3, 3.0)
    loss: Annotated[float, Gt(0), Lt(1)] = 0.02
    margin: Annotated[float, Gt(0), Lt(1)] = 0.1
    draws: Annotated[int, Ge(200)] = 2000

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.defenses) - STRENGTH.keys()):
            raise UsageError(f"{unknown[0]!r} has no strength that could be swept; {', '.join(sorted(STRENGTH))} have.")

    def design(self, ctx: StudyContext) -> Design:
        """Return sweeps of the defenses that have a strength, or of those that are asked for."""
        plain, *others = one_of_each(ctx)
        kept = (arm for arm in others if arm.defense in (self.defenses or STRENGTH))
        return Design(arms=(plain, *kept, *sweep(ctx, self.factors, self.defenses)))

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Match.

        Raises:
            TooFewRecords: without plain training, its floor or gold, a defense, or eight attacked people.
        """
        plain = evidence.design.arms[0].name
        by_arm = defaultdict(list)
        for cell in evidence.cells:
            by_arm[cell.arm].append(cell)
        evidence.require(len(by_arm.get(plain, ())), 1, f"records of the arm {plain!r}")
        people = len(_values(by_arm[plain][0]))
        evidence.require(int(np.isfinite(_values(by_arm[plain][0])).sum()), LEAST, "attacked people")
        spans = [span for cell in by_arm[plain] if (span := _span(cell)) is not None]
        evidence.require(len(spans), 1, f"records of the arm {plain!r} with floor and gold")
        defense = {arm: cells[0].defense for arm, cells in by_arm.items()}
        names = [name for name in dict.fromkeys(defense.values()) if name != defense[plain]]
        evidence.require(len(names), 1, "defenses with records")
        counts_DK = _counts(self.draws, people)
        common = set.intersection(*({cell.attack for cell in cells} for cells in by_arm.values()))
        evidence.require(len(common), 1, "attacks that all arms met")
        points = {
            arm: _points([cell for cell in cells if cell.attack in common], counts_DK) for arm, cells in by_arm.items()
        }
        rows = []
        for name in names:
            own = {arm: points[arm] for arm in by_arm if defense[arm] in (name, defense[plain])}
            rows.append((name, *_matched(own, plain, self.loss, 0.05 / len(names))))
        columns = ["defense", "matched", "difference", "low", "high", "area", "area low", "area high", "setting"]
        table = pd.DataFrame(rows, columns=columns)
        arms = arms_frame(targets_frame(evidence))
        arms["defense"] = [defense[arm] for arm in arms["arm"]]
        arms["front"] = _front(arms["accuracy"].to_numpy(float), arms["leakage"].to_numpy(float))
        return Findings(
            answer=_answer(table, self.margin * float(np.mean(spans))),
            verdict=f"At a loss of at most {self.loss:.0%} of accuracy, {_told(table, plain, evidence.unit)}. Intervals"
            " are corrected for their number.",
            tables={
                "matched": as_table(table, "Leakage at equal accuracy, and area under the curve"),
                "arms": as_table(
                    arms[["arm", "defense", "accuracy", "leakage", "front", "seeds"]], "Arms and Pareto front"
                ),
            },
            figures={"curve": _figure(arms, evidence.headline)},
            notes=(f"Worst case over {', '.join(sorted(common))}, which all arms met.",),
        )


def _told(table: pd.DataFrame, plain: str, unit: str) -> str:
    """Say which defense leaks least, or that none leaks less than plain training."""
    best = table.loc[table["difference"].idxmin()]
    if best["setting"] == plain:
        return (
            f"no setting of {len(table)} defenses leaks less than plain training; differences down to"
            f" {table['low'].min():+.2f} {unit} are possible"
        )
    return (
        f"{best['defense']} ({best['setting']}) leaks {best['difference']:+.2f} [{best['low']:+.2f},"
        f" {best['high']:+.2f}] {unit} against plain training, the least of {len(table)} defenses"
    )


def _answer(table: pd.DataFrame, margin: float) -> Answer:
    """Apply the rule to the differences at equal accuracy."""
    if (table["high"] < 0).any():
        return "holds"
    return "does not hold" if (table["low"] > -margin).all() else "cannot be told"


@dataclass(frozen=True)
class Point:
    """One arm: accuracy and leakage as measured, and in each resample.

    Attributes:
        accuracy: measured.
        leakage: measured, worst case over attacks.
        accuracy_D: in resamples.
        leakage_D: likewise.
    """

    accuracy: float
    leakage: float
    accuracy_D: Floats
    leakage_D: Floats


def _span(cell: CellResult) -> float | None:
    """Return how far gold is from floor, in units of the headline; ``None`` without one of them."""
    floor, gold = (cell.controls.get(name, {}).get(cell.headline) for name in ("floor", "gold"))
    return abs(gold.value - floor.value) if floor and gold else None


def _values(cell: CellResult) -> Floats:
    """Return the headline by class (K,), larger is more leakage; NaN for classes that were not attacked."""
    lead = cell.metrics[cell.headline]
    values = np.array([np.nan if value is None else value for value in lead.per_class], float)
    return -values if lead.higher_is_better else values


def _accuracy(cell: CellResult) -> tuple[float, Floats]:
    [number] = [
        n for n in cell.metrics.values() if n.quantity.role == "accuracy" and n.quantity.k == 1 and not n.quantity.part
    ]
    return number.value, np.array([np.nan if value is None else value for value in number.per_class], float)


def _counts(draws: int, people: int) -> Floats:
    generator = np.random.Generator(np.random.PCG64(20260102))
    made: Floats = generator.multinomial(people, [1 / people] * people, size=draws).astype(float)
    return made


def _weighted(values_K: Floats, counts_DK: Floats) -> Floats:
    known = np.isfinite(values_K)
    weight_D = counts_DK[:, known].sum(axis=1)
    made: Floats = counts_DK[:, known] @ values_K[known] / np.maximum(weight_D, 1)
    return made


def _points(cells: Sequence[CellResult], counts_DK: Floats) -> Point:
    by_attack: defaultdict[str, list[CellResult]] = defaultdict(list)
    for cell in cells:
        by_attack[cell.attack].append(cell)
    leaks = [np.mean([np.nanmean(_values(cell)) for cell in group]) for group in by_attack.values()]
    drawn = [np.mean([_weighted(_values(cell), counts_DK) for cell in group], axis=0) for group in by_attack.values()]
    seeds = list({cell.seed: _accuracy(cell) for cell in cells}.values())
    return Point(
        float(np.mean([value for value, _ in seeds])),
        float(max(leaks)),
        np.mean([_weighted(per_class, counts_DK) for _, per_class in seeds], axis=0),
        np.max(drawn, axis=0),
    )


def _matched(points: Mapping[str, Point], plain: str, loss: float, alpha: float) -> tuple[float | str, ...]:
    """Return matched leakage, its difference to plain training with an interval, the area likewise, and the setting."""
    names = list(points)
    accuracy = np.array([points[name].accuracy for name in names])
    leakage = np.array([points[name].leakage for name in names])
    accuracy_AD = np.stack([points[name].accuracy_D for name in names])
    leakage_AD = np.stack([points[name].leakage_D for name in names])
    place = names.index(plain)
    levels = accuracy[place] - loss * np.linspace(1, 0, 11)
    curve = [leakage[accuracy >= level - 1e-12].min() for level in levels]
    kept = np.flatnonzero(accuracy >= levels[0] - 1e-12)
    setting = names[int(kept[leakage[kept].argmin()])]
    gaps = loss * np.linspace(1, 0, 11)[:, None]
    allowed_LAD = accuracy_AD[None] >= (accuracy_AD[place][None] - gaps)[:, None] - 1e-12
    curve_LD = np.where(allowed_LAD, leakage_AD[None], np.inf).min(axis=1)
    apart_D, area_D = curve_LD[0] - leakage_AD[place], curve_LD.mean(axis=0)
    low, high = (float(np.quantile(apart_D, q)) for q in (alpha / 2, 1 - alpha / 2))
    area = (float(np.quantile(area_D, q)) for q in (0.025, 0.975))
    return float(curve[0]), float(curve[0] - leakage[place]), low, high, float(np.mean(curve)), *area, setting


def _front(accuracy: Floats, leakage: Floats) -> list[bool]:
    """Tell which arms no other arm beats in both."""
    better = (accuracy[None] >= accuracy[:, None]) & (leakage[None] <= leakage[:, None])
    strictly = (accuracy[None] > accuracy[:, None]) | (leakage[None] < leakage[:, None])
    return [not bool(row.any()) for row in better & strictly]


def _figure(arms: pd.DataFrame, headline: str) -> Figure:
    figure, (axes,) = canvas()
    scatter(axes, list(arms["accuracy"]), list(arms["leakage"]), list(arms["defense"]))
    front = arms[arms["front"]].sort_values("accuracy")
    axes.step(front["accuracy"], front["leakage"], where="pre", color="#888888", linewidth=1)
    axes.set_xlabel("accuracy")
    axes.set_ylabel(headline)
    return finished(figure, "Leakage against accuracy", "One point for each setting; the Pareto front.")
