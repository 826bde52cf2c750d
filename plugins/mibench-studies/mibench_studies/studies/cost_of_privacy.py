"""How many points of robust accuracy a point of leakage costs, at each radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt

from mibench.api import Answer, Design, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, forest
from mibench_studies.frames import as_table
from mibench_studies.outcome import Outcome, make_regression
from mibench_studies.stats.beta import bootstrap_effects, fit_beta, marginal_effects, squeezed
from mibench_studies.strengths import one_of_each, sweep


@dataclass(frozen=True, kw_only=True)
class CostOfPrivacy(Study):
    """The price table: average marginal effects of a Beta regression of leakage on robust accuracies, turned round.

    An effect is by how many points leakage rises per point of robust accuracy at one radius, the others held fixed,
    which is not how they move: read the table as a description. The cost is 1 / effect.

    Source: Torp, Smith and Breuer, ICLR 2026 (cost of one point of leakage at each radius; how it was computed is not
    stated there).

    Attributes:
        outcome: as of trade-off.
        factors: as of trade-off.
        draws: resamples of defenses behind the bootstrap intervals.
    """

    claim: ClassVar[str] = "Lower leakage is paid for with robust accuracy."
    rule: ClassVar[str] = (
        "It holds if, at one radius at least, the interval of the marginal effect from resampled defenses lies"
        " above 0, at a"
        " level of 95 % over all radii (Bonferroni). It does not hold if no effect is above 0. Else it cannot be told."
    )
    adopts: ClassVar[bool] = True

    outcome: Outcome = "normalised"
    factors: tuple[Annotated[float, Gt(0)], ...] = (0.25, 4.0)
    draws: Annotated[int, Ge(100)] = 400

    def design(self, ctx: StudyContext) -> Design:
        """Return the arms of trade-off."""
        return Design(arms=(*one_of_each(ctx), *sweep(ctx, self.factors)))

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Fit and price.

        Raises:
            TooFewRecords: as trade-off, or if the regression does not converge on so few.
        """
        rows = make_regression(evidence, self.outcome)
        y, x = squeezed(rows.y), rows.x()
        fit = fit_beta(y, x, rows.columns, rows.clusters)
        if fit is None:
            evidence.require(len(y), 2 * len(y), "trained targets (the Beta regression does not converge on fewer)")
            raise AssertionError  # never reached: that refuses
        drawn = bootstrap_effects(y, x, rows.columns, rows.clusters, draws=self.draws)
        tail = 0.025 / len(rows.columns)
        table, lines, above = [], [], []
        for place, effect in enumerate(marginal_effects(fit)):
            low, high = (float(np.quantile(drawn[:, place], q)) for q in (0.025, 0.975))
            above.append(float(np.quantile(drawn[:, place], tail)) > 0)
            cost = effect.cost_ci95
            table.append(
                (effect.name, effect.value, *effect.ci95, low, high, effect.cost, *(cost or (None, None)), above[-1])
            )
            lines.append((effect.name, effect.value, (low, high)))
        columns = ["column", "effect", "delta low", "delta high", "bootstrap low", "bootstrap high"]
        columns += ["cost", "cost low", "cost high", "above 0"]
        prices = pd.DataFrame(table, columns=columns)
        answer: Answer = (
            "holds" if any(above) else "cannot be told" if (prices["effect"] > 0).any() else "does not hold"
        )
        told = "; ".join(f"{name} {cost:.2f}" for name, cost in zip(prices["column"], prices["cost"], strict=True))
        figure, (axes,) = canvas()
        forest(axes, lines)
        axes.set_xlabel(f"points of {self.outcome} per point of robust accuracy")
        return Findings(
            answer=answer,
            verdict=f"Points of robust accuracy per point of leakage: {told}. Effects above 0 beyond doubt at"
            f" {sum(above)} of {len(above)} radii ({len(y)} targets of {len(set(rows.clusters))} defenses).",
            tables={"prices": as_table(prices, "Price of one point of leakage at each radius")},
            figures={
                "effects": finished(figure, "Marginal effects", "Average marginal effect of each robust accuracy.")
            },
            notes=(
                *rows.notes,
                f"{self.draws - len(drawn)} of {self.draws} resamples did not converge and are left out.",
                "A cost without an interval has an effect that may be 0; it may then be anything.",
            ),
        )
