"""A trial: targets are assigned to training with or without AT-AT at random, before any training."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge

from mibench.api import Answer, Arm, Design, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, scatter
from mibench_studies.frames import as_table, need_columns, targets_frame
from mibench_studies.outcome import Outcome
from mibench_studies.stats.beta import fit_beta, squeezed
from mibench_studies.stats.permutation import Groups, apart, hedges_g, logit, permutation_test

CONTROL, TREATED, RANDOM = "control", "treated", "random direction"
LEVEL = 0.05
LEAST = 4
"""Targets in each arm: the exact test of 4 against 4 can reach p = .029."""


@dataclass(frozen=True, kw_only=True)
class RandomisedTrial(Study):
    """Train targets that differ in nothing but chance and the arm they were drawn into.

    The unit is one trained target, with a seed of its own. Which seeds are treated is drawn from ``draw`` and written
    into the design before the first training; a trial that was killed goes on with the same assignment. The treated are
    trained as ``defense`` has it under the protocol, the control with weight 0, which is plain training. With more arms
    the targets are divided among all; each further arm is compared with the control, and decides nothing, except that a
    random direction has to differ from the adversarial one if it was run. Where a protocol has folds, whose people may
    be easier or harder to find, targets are drawn and compared within folds.

    Source: Torp, Smith and Breuer, ICLR 2026 (10 targets, Beta regression on the treatment).

    Attributes:
        targets: in all arms together.
        draw: seed of the assignment.
        first_seed: the targets have this seed and those after it.
        outcome: leakage between floor and gold, or the worst evaluator's attack accuracy (the paper's).
        placebo: an arm that runs the whole step with weight 0.
        label_smoothing: an arm with no perturbation, which is label smoothing in expectation.
        random_direction: an arm with random directions of the same length.
        adversarial_training: an arm with adversarial training.
        smallest: difference of the outcome that would matter.
    """

    claim: ClassVar[str] = "Training with AT-AT causes lower leakage."
    rule: ClassVar[str] = (
        "It holds if the treated leak less than the control by the exact permutation test at 5 %, and, if an arm"
        " with random"
        " directions was run, less than that by the same test. It does not hold if one of these comparisons fails and"
        " Welch's 95 % interval of that reduction lies below the smallest difference that matters. Else it cannot"
        " be told. In a protocol with folds, targets are exchanged within them, and the interval is that of least"
        " squares with a constant for each."
    )

    targets: Annotated[int, Ge(2 * LEAST)] = 10
    draw: Annotated[int, Ge(0)] = 0
    first_seed: Annotated[int, Ge(0)] = 0
    outcome: Outcome = "normalised"
    placebo: bool = False
    label_smoothing: bool = False
    random_direction: bool = False
    adversarial_training: bool = False
    smallest: Annotated[float, Ge(0)] = 0.1

    def design(self, ctx: StudyContext) -> Design:
        """Draw the assignment."""
        settled = ctx.settled("atat")
        same = {name: settled[name] for name in ("lam", "eps", "step_size")}
        kinds: list[tuple[str, str, dict[str, Any]]] = [(CONTROL, "atat", {"lam": 0.0}), (TREATED, "atat", {})]
        kinds += [("placebo", "atat", {"placebo": True})] if self.placebo else []
        kinds += [("label smoothing", "atat/no-delta", same)] if self.label_smoothing else []
        kinds += [(RANDOM, "atat/random-delta", same)] if self.random_direction else []
        kinds += [("adversarial training", "at", {})] if self.adversarial_training else []
        seeds = [self.first_seed + number for number in range(self.targets)]
        drawn = assignment(seeds, len(kinds), self.draw, ctx.folds)
        arms = tuple(
            Arm(name=name, defense=defense, params=params, seeds=own)
            for (name, defense, params), own in zip(kinds, drawn, strict=True)
        )
        told = {name: list(own) for (name, _, _), own in zip(kinds, drawn, strict=True)}
        notes = {"assignment": told, "draw": self.draw, "outcome": self.outcome, "folds": ctx.folds}
        return Design(arms=arms, notes=notes)

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Test, and estimate.

        Raises:
            TooFewRecords: with fewer than four targets in an arm that decides.
        """
        frame = targets_frame(evidence)
        need_columns(evidence, frame, (self.outcome,))
        frame = frame.dropna(subset=[self.outcome])
        # A design of before trials were drawn within folds says nothing of them.
        frame["fold"] = frame["seed"] % int(evidence.design.notes.get("folds", 1))
        by_arm = {str(name): own for name, own in frame.groupby("arm", sort=False)}
        deciding = [CONTROL, TREATED] + ([RANDOM] if any(a.name == RANDOM for a in evidence.design.arms) else [])
        for name in deciding:
            evidence.require(len(by_arm.get(name, ())), LEAST, f"targets in the arm {name!r}")
        pairs = [(name, CONTROL) for name in by_arm if name != CONTROL]
        pairs += [(TREATED, RANDOM)] if RANDOM in deciding else []
        rows = [
            {"arm": arm, "other": other, **compared(by_arm[arm], by_arm[other], self.outcome)} for arm, other in pairs
        ]
        table = pd.DataFrame(rows)
        main = rows[[row["arm"] for row in rows].index(TREATED)]
        beside = rows[-1] if RANDOM in deciding else None
        figure, (axes,) = canvas()
        names = list(by_arm)
        spread = [
            (names.index(arm) + 0.15 * (seed % 5 - 2) / 2)
            for arm, seed in zip(frame["arm"], frame["seed"], strict=True)
        ]
        scatter(axes, spread, list(frame[self.outcome]), list(frame["arm"]))
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.set_ylabel(self.outcome)
        return Findings(
            answer=self._answer(main, beside),
            verdict=_told(main) + (f" Against random directions: {_told(beside)}" if beside else ""),
            tables={
                "tests": as_table(table, "Arms compared"),
                "targets": as_table(frame[["arm", "seed", "fold", self.outcome, "accuracy", "attack"]], "Targets"),
            },
            figures={"targets": finished(figure, "Every target", "The outcome of each target, by arm.")},
            notes=(
                f"With so few targets the exact test cannot go below p = {main['least p']:.3g}; smaller p of the Beta"
                " regression rest on its model.",
                "Assigned before training: " + str(dict(evidence.design.notes.get("assignment", {}))),
            ),
        )

    def _answer(self, main: dict[str, Any], beside: dict[str, Any] | None) -> Answer:
        rows = [main, beside] if beside else [main]
        lower = [row["difference"] < 0 and row["permutation p"] < LEVEL for row in rows]
        if all(lower):
            return "holds"
        small = [row["low"] is not None and -row["low"] < self.smallest for row in rows]
        return (
            "does not hold" if any(one and not low for one, low in zip(small, lower, strict=True)) else "cannot be told"
        )


def assignment(seeds: list[int], arms: int, draw: int, folds: int = 1) -> list[tuple[int, ...]]:
    """Divide seeds among arms at random, in each fold and in all as equally as can be.

    It is the same for the same ``draw``, on every machine. The first arms get one more where it does not come out even.
    Seeds of an arm are sorted.
    """
    order: list[int] = []
    for fold in range(folds):
        own = [seed for seed in seeds if seed % folds == fold]
        random.Random(f"mibench randomised trial {draw}" + (f" fold {fold}" if folds > 1 else "")).shuffle(own)
        order += own
    return [tuple(sorted(order[number::arms])) for number in range(arms)]


def compared(one: pd.DataFrame, other: pd.DataFrame, outcome: str) -> dict[str, Any]:
    """Return everything that is said about the targets of one arm against those of another, within folds."""
    values, others = one[outcome].to_numpy(float), other[outcome].to_numpy(float)
    folds = [*one["fold"], *other["fold"]]
    groups = Groups.of(values, others, folds)
    permuted, plain = permutation_test(groups), apart(groups)
    y = squeezed([*values, *others])
    on_logits = apart(Groups.of(logit(y[: len(values)]), logit(y[len(values) :]), folds))
    within = Groups.of(y[: len(values)], y[len(values) :], folds)
    columns = np.column_stack([within.first_N.astype(float), within.dummies_NB[:, 1:]])
    names = ["treated", *(f"block {number}" for number in range(1, len(within.sizes_B)))]
    fit = fit_beta(within.values_N, columns, names) if len(y) > len(names) + 2 else None
    low, high = plain.ci95 or (None, None)
    odds = fit.interval("treated") if fit else (None, None)
    return {
        "n": len(values),
        "n other": len(others),
        "mean": float(np.mean(values)),
        "mean other": float(np.mean(others)),
        "difference": plain.difference,
        "low": low,
        "high": high,
        "permutation p": permuted.p,
        "least p": permuted.least,
        "exact": permuted.exact,
        "p on logits": on_logits.p,
        "Hedges g": hedges_g(groups),
        "odds ratio": float(np.exp(fit.coefficients[1])) if fit else None,
        "odds low": None if odds[0] is None else float(np.exp(odds[0])),
        "odds high": None if odds[1] is None else float(np.exp(odds[1])),
        "Beta z": float(fit.coefficients[1] / fit.errors[1]) if fit and fit.errors[1] > 0 else None,
    }


def _told(row: dict[str, Any]) -> str:
    odds = "" if row["odds ratio"] is None else f", odds of leakage times {row['odds ratio']:.3g}"
    return (
        f"{row['arm']} {row['mean']:.3f} (n {row['n']}), {row['other']} {row['mean other']:.3f} (n {row['n other']}):"
        f" difference {row['difference']:+.3f}, exact permutation p {row['permutation p']:.3g}{odds}."
    )
