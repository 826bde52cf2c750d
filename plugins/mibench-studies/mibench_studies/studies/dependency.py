"""Does the dependence between image and activations predict leakage?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pandas as pd
from annotated_types import Ge, Gt, Lt

from mibench.api import Answer, Design, ExtraMetric, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, scatter
from mibench_studies.frames import arms_frame, as_table, attack_notes, need_columns, targets_frame, useful
from mibench_studies.stats.ranks import spearman
from mibench_studies.strengths import one_of_each, sweep

MEASURES = ("hsic_xz", "hsic_xz_corrected", "cka_xz", "hsic_median_xz")
NAMES = ("HSIC as published", "HSIC, corrected", "CKA", "HSIC, median width")


@dataclass(frozen=True, kw_only=True)
class DependencyStudy(Study):
    """Rank correlation of leakage with four measures of dependence, over defenses and a sweep of BiDO's lambda_x.

    Source: Torp, Smith and Breuer, ICLR 2026 (low dependency with high leakage, and the reverse).

    Attributes:
        factors: multiples of BiDO's lambda_x under the protocol, up to the paper's BiDO**.
        least: arms below which nothing is said.
        strong: rank correlation from which a measure would be a good predictor.
    """

    claim: ClassVar[str] = "The dependence between image and activations predicts leakage."
    rule: ClassVar[str] = (
        "It holds if the interval of the rank correlation over arms lies above 0 for one of the four measures, at"
        " 95 % over"
        " all of them (Bonferroni). It does not hold if all four intervals lie below the correlation that counts as"
        " strong."
        " Else it cannot be told."
    )

    factors: tuple[Annotated[float, Gt(0)], ...] = (2.0, 5.0, 10.0)
    least: Annotated[int, Ge(6)] = 8
    strong: Annotated[float, Gt(0), Lt(1)] = 0.5

    def metrics(self) -> Sequence[ExtraMetric]:
        """Return the measurement of dependence."""
        return (ExtraMetric(name="dependency"),)

    def design(self, ctx: StudyContext) -> Design:
        """Return every installed defense, and BiDO with larger weights."""
        return Design(arms=(*one_of_each(ctx), *sweep(ctx, self.factors, ["bido"])))

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Correlate.

        Raises:
            TooFewRecords: with fewer arms than ``least``.
        """
        targets, useless = useful(targets_frame(evidence))
        need_columns(evidence, targets, MEASURES)
        arms = arms_frame(targets)
        evidence.require(len(arms), self.least, "arms with records")
        found = [spearman(arms[name], arms["leakage"], level=1 - 0.05 / len(MEASURES)) for name in MEASURES]
        answer: Answer = "cannot be told"
        intervals = [one.interval for one in found if one.interval]
        if any(low > 0 for low, _ in intervals):
            answer = "holds"
        elif intervals and all(high < self.strong for _, high in intervals):
            answer = "does not hold"
        rows = [
            (name, one.value, *(one.interval or (None, None)), one.pairs)
            for name, one in zip(MEASURES, found, strict=True)
        ]
        told = "; ".join(f"{name} {one.value:+.2f}" for name, one in zip(NAMES, found, strict=True))
        figure, panels = canvas(2)
        for axes, name, title in zip(panels, MEASURES[1:3], NAMES[1:3], strict=True):
            scatter(axes, list(arms[name]), list(arms["leakage"]), list(arms["family"]), list(arms["arm"]))
            axes.set_xlabel(title)
            axes.set_ylabel(evidence.headline)
        correlations = pd.DataFrame(rows, columns=["measure", "spearman", "low", "high", "arms"])
        return Findings(
            answer=answer,
            verdict=f"Rank correlation with leakage over {len(arms)} arms: {told}.",
            tables={
                "correlations": as_table(correlations, "Rank correlation of each measure with leakage"),
                "arms": as_table(arms[["arm", "family", "leakage", "accuracy", *MEASURES, "seeds"]], "Arms"),
            },
            figures={
                "scatter": finished(figure, "Leakage against dependence", "One point for each arm, two measures.")
            },
            notes=(
                *attack_notes(evidence),
                *useless,
                "Arms are not drawn at random: defenses were chosen by their authors, and arms of one defense are"
                " alike.",
                "HSIC as published follows the scale of activations; the readme of the metric shows by how much.",
            ),
        )
