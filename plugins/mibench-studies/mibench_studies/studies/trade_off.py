"""Do robust accuracies predict leakage, and does clean accuracy add anything?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Gt

from mibench.api import Answer, Design, Figure, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, scatter
from mibench_studies.frames import as_table
from mibench_studies.outcome import PER_COEFFICIENT, Floats, Outcome, Regression, make_regression
from mibench_studies.stats.beta import fit_beta, predict_beta, squeezed
from mibench_studies.stats.linear import (
    between_clusters,
    fit_linear,
    inflation,
    left_out_error,
    predict_linear,
    predict_mean,
)
from mibench_studies.stats.ranks import spearman
from mibench_studies.strengths import one_of_each, sweep

LEVEL = 0.05
ENOUGH = 0.8
"""Share of the mean's error, below which a model has predicted defenses that it never saw."""


@dataclass(frozen=True, kw_only=True)
class TradeOff(Study):
    """Explain the leakage of trained targets by their robust accuracies, with and without clean accuracy.

    Source: Torp, Smith and Breuer, ICLR 2026 (OLS and Beta regression of leakage on accuracies).

    Attributes:
        outcome: what is explained: leakage between floor and gold, or the worst evaluator's attack accuracy (the
        paper's).
        factors: multiples of each defense's strength under the protocol; 1 is always there.
    """

    claim: ClassVar[str] = (
        "Robust accuracies predict leakage, also of defenses not seen before, and accuracy adds nothing."
    )
    rule: ClassVar[str] = (
        "It holds if the error of the linear model with robust accuracies on left-out defenses is below 0.8 times that"
        " of the mean, and the 95 % cluster-robust interval of clean accuracy's coefficient holds 0. It does not"
        " hold if"
        " that error is not below that of the mean, or the interval does not hold 0. Else it cannot be told, nor if"
        " leakage differs no more between defenses than between trainings (F test at 5 %)."
    )
    adopts: ClassVar[bool] = True

    outcome: Outcome = "normalised"
    factors: tuple[Annotated[float, Gt(0)], ...] = (0.25, 4.0)

    def design(self, ctx: StudyContext) -> Design:
        """Return every installed defense, and sweeps of those that have a strength."""
        return Design(arms=(*one_of_each(ctx), *sweep(ctx, self.factors)))

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Fit all models.

        Raises:
            TooFewRecords: with fewer than five rows for each coefficient, or fewer than five defenses.
        """
        rows = make_regression(evidence, self.outcome)
        error = left_out_error(rows.y, rows.x(), rows.clusters, predict_linear)
        error_mean = left_out_error(rows.y, rows.x(), rows.clusters, predict_mean)
        with_accuracy = fit_linear(rows.y, rows.x("accuracy"), [*rows.columns, "accuracy"], rows.clusters)
        low, high = with_accuracy.interval("accuracy")
        differ = between_clusters(rows.y, rows.clusters)
        answer = _answer(error, error_mean, low, high) if differ < LEVEL else "cannot be told"
        ranks = [spearman(rows.frame[name], rows.y) for name in (*rows.columns, "accuracy")]
        best = max(zip(ranks, (*rows.columns, "accuracy"), strict=True), key=lambda pair: abs(pair[0].value))
        verdict = (
            f"On left-out defenses the linear model is off by {error:.3f} on average, the mean by {error_mean:.3f}"
            f" ({len(rows.y)} targets of {len(set(rows.clusters))} defenses, which differ with p = {differ:.2g})."
            f" With robust accuracies in the model, the"
            f" coefficient of clean accuracy is {with_accuracy.coefficients[-1]:.2f} [{low:.2f}, {high:.2f}]. The"
            f" best single"
            f" rank correlation with {self.outcome} is {best[0].value:.2f} of {best[1]}."
        )
        correlations = pd.DataFrame(
            {
                "column": [*rows.columns, "accuracy"],
                "spearman": [one.value for one in ranks],
                "low": [one.interval[0] if one.interval else None for one in ranks],
                "high": [one.interval[1] if one.interval else None for one in ranks],
            }
        )
        return Findings(
            answer=answer,
            verdict=verdict,
            tables={
                "errors": as_table(errors(rows), "Mean absolute error on left-out defenses"),
                "coefficients": as_table(coefficients(rows), "Coefficients, all models and families"),
                "correlations": as_table(correlations, f"Rank correlations with {self.outcome}"),
                "targets": as_table(
                    rows.frame[["arm", "family", "seed", self.outcome, "accuracy", *rows.columns]], "Targets"
                ),
            },
            figures={"predicted": _figure(rows, self.outcome)},
            notes=rows.notes,
        )


def errors(rows: Regression) -> pd.DataFrame:
    """Return the error of each model on defenses that had no part in its fit.

    Relative drops are (accuracy - robust accuracy) / accuracy. A Beta regression that does not converge without some
    defense has no error.
    """
    accuracy = rows.frame[["accuracy"]].to_numpy(float)
    drops = (accuracy - rows.x()) / np.maximum(accuracy, 1e-9)
    designs = {"robust accuracies": rows.x(), "and accuracy": rows.x("accuracy"), "accuracy alone": accuracy}
    designs["relative drops"] = drops
    made: list[tuple[object, ...]] = [("mean", "", left_out_error(rows.y, rows.x(), rows.clusters, predict_mean))]
    for name, x in designs.items():
        made.append(("OLS", name, left_out_error(rows.y, x, rows.clusters, predict_linear)))
        beta = left_out_error(rows.y, x, rows.clusters, predict_beta)
        made.append(("Beta", name, beta if np.isfinite(beta) else None))
    return pd.DataFrame(made, columns=["model", "columns", "error"])


def coefficients(rows: Regression) -> pd.DataFrame:
    """Return coefficients of OLS and Beta regression, with and without accuracy, of all targets and of each family."""
    made = []
    families = [name for name in dict.fromkeys(rows.frame["family"]) if name not in ("", "none")]
    for family in ("all", *families):
        chosen = np.array([family in ("all", one) or one == "none" for one in rows.frame["family"]])
        for more in ((), ("accuracy",)):
            names = [*rows.columns, *more]
            if (
                chosen.sum() < PER_COEFFICIENT * (len(names) + 1)
                or len({c for c, k in zip(rows.clusters, chosen, strict=True) if k}) < 2
            ):
                continue
            x, y = rows.x(*more)[chosen], rows.y[chosen]
            if np.linalg.matrix_rank(np.column_stack([np.ones(len(x)), x])) <= len(names):
                continue
            clusters = [cluster for cluster, kept in zip(rows.clusters, chosen, strict=True) if kept]
            made += _fits(family, y, x, names, clusters)
    columns = ["family", "model", "accuracy", "column", "coefficient", "low", "high", "vif", "fit", "rows"]
    return pd.DataFrame(made, columns=columns)


def _fits(family: str, y: Floats, x: Floats, names: list[str], clusters: list[str]) -> list[tuple[object, ...]]:
    factors, has = inflation(x, names), "with" if "accuracy" in names else "without"
    linear = fit_linear(y, x, names, clusters)
    rows: list[tuple[object, ...]] = [
        (
            family,
            "OLS",
            has,
            name,
            float(linear.coefficients[place]),
            *linear.interval(name),
            factors.get(name),
            linear.r2,
            len(y),
        )
        for place, name in enumerate(linear.names)
    ]
    fit = fit_beta(squeezed(y), x, names, clusters)
    if fit is not None:
        close = float(np.corrcoef(fit.fitted, y)[0, 1] ** 2) if y.std() > 0 else None
        rows += [
            (
                family,
                "Beta",
                has,
                name,
                float(fit.coefficients[place]),
                *fit.interval(name),
                factors.get(name),
                close,
                len(y),
            )
            for place, name in enumerate(fit.names)
        ]
    return rows


def _answer(error: float, error_mean: float, low: float, high: float) -> Answer:
    if error >= error_mean or not low <= 0 <= high:
        return "does not hold"
    return "holds" if error < ENOUGH * error_mean else "cannot be told"


def _figure(rows: Regression, outcome: str) -> Figure:
    predicted = predict_linear(rows.y, rows.x(), rows.x())
    figure, (axes,) = canvas()
    scatter(axes, predicted, rows.y, list(rows.frame["family"]))
    ends = [min(predicted.min(), rows.y.min()), max(predicted.max(), rows.y.max())]
    axes.plot(ends, ends, "--", color="#888888", linewidth=1)
    axes.set_xlabel("predicted from robust accuracies")
    axes.set_ylabel(f"measured ({outcome})")
    return finished(
        figure, "Leakage against its prediction", "Measured leakage of each target over the linear prediction."
    )
