"""Leakage and bounds against the share of pixels that a network reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pandas as pd
from annotated_types import Ge, Lt

from mibench.api import Answer, Arm, Design, ExtraMetric, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, scatter
from mibench_studies.frames import arms_frame, as_table, need_columns, targets_frame
from mibench_studies.stats.ranks import mean_interval

LEAST = 2
HALF = 0.5
MOST = 0.9
"""Share of unread pixels from which a network reads hardly any."""
WHOLE = "all pixels"
Method = Literal["layer", "transform", "dataset"]


@dataclass(frozen=True, kw_only=True)
class UnseenPixelsStudy(Study):
    """Train behind frozen masks that hide more and more pixels, in three ways, and attack.

    The mask is learnt once for each seed without a threshold, and its smallest groups are removed up to the wanted
    share. A pixel that is never read has an infinite Cramér-Rao bound, so a bound promises much where attacks with a
    prior may still find a lot. Leakage is between floor and gold.

    Source: Torp, Smith and Breuer, ICLR 2026 (97.8 % of the pixels removed).

    Attributes:
        fractions: shares of the pixels that are removed; the undefended target is 0.
        methods: where training masks.
    """

    claim: ClassVar[str] = "A network that never reads most pixels leaks little."
    rule: ClassVar[str] = (
        "It holds if the targets that do not read 90 % of the pixels or more leak less than half of what undefended"
        " targets of"
        " the same seeds leak, by the 95 % interval of the mean ratio over seeds; it does not hold if they leak"
        " more than half"
        " by that interval. Else it cannot be told."
    )

    fractions: tuple[Annotated[float, Ge(0), Lt(1)], ...] = (0.5, 0.8, 0.9, 0.95, 0.98)
    methods: tuple[Method, ...] = ("transform", "layer", "dataset")

    def metrics(self) -> Sequence[ExtraMetric]:
        """Return Fisher information, which measures what is never read."""
        return (ExtraMetric(name="fisher-information", params={"max_images": 16}),)

    def design(self, ctx: StudyContext) -> Design:
        """Return the undefended target, and one arm for each method and share."""
        learnt = {"mask.tau": 0.0, "mask.tau_first": 0.0, "mask.binarise": True}
        masked = (
            Arm(
                name=f"{share:.0%} hidden, {method}",
                defense="unseen-pixels",
                params={**learnt, "mask.removed": share, "mask.method": method},
                family=method,
            )
            for method in self.methods
            for share in self.fractions
            if share > 0
        )
        return Design(arms=(Arm(name=WHOLE, family="none"), *masked))

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Compare with undefended targets of the same seed.

        Raises:
            TooFewRecords: with fewer than two seeds of undefended targets, or of targets that read hardly any pixel.
        """
        targets = targets_frame(evidence)
        need_columns(evidence, targets, ("normalised", "unread_pixels"))
        whole = targets[targets["arm"] == WHOLE].set_index("seed")["normalised"]
        whole = whole[whole > 0]
        evidence.require(len(whole), LEAST, "undefended targets that leak more than floor")
        targets["ratio"] = targets["normalised"] / targets["seed"].map(whole)
        # To the nearest percent: of 4 096 pixels, 90 % are 3 686, which is a little less.
        blind = targets[(targets["unread_pixels"].round(2) >= MOST) & targets["ratio"].notna()]
        ratios = blind.groupby("seed")["ratio"].mean()
        evidence.require(len(ratios), LEAST, f"seeds with targets that do not read {MOST:.0%} of the pixels")
        interval = mean_interval(list(ratios))
        answer: Answer = "cannot be told"
        if interval:
            answer = "holds" if interval[1] < HALF else "does not hold" if interval[0] > HALF else answer
        arms = arms_frame(targets)
        figure, panels = canvas(2)
        for axes, column in zip(panels, ("normalised", "accuracy"), strict=True):
            scatter(axes, list(1 - arms["unread_pixels"]), list(arms[column]), list(arms["family"]))
            axes.set_xlabel("share of the pixels that is read")
            axes.set_ylabel({"normalised": "leakage between floor and gold"}.get(column, column))
        told = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "without an interval"
        shown = ["arm", "unread_pixels", "normalised", "ratio", "accuracy", "fil"]
        shown += [name for name in ("crb_pixel",) if name in arms] + ["seeds"]
        return Findings(
            answer=answer,
            verdict=f"Targets that do not read {MOST:.0%} of the pixels leak {float(ratios.mean()):.2f} {told}"
            f" of what undefended targets leak ({len(ratios)} seeds). A pixel that is not read has an infinite bound.",
            tables={"arms": as_table(arms[shown], "Arms, means over seeds")},
            figures={"shares": finished(figure, "Leakage against what is read", "One point for each arm, by method.")},
            notes=_unlike(arms),
        )


def _unlike(arms: pd.DataFrame) -> tuple[str, ...]:
    """Say where the measured share is not the one that was asked for."""
    found = []
    for arm, unread in zip(arms["arm"], arms["unread_pixels"], strict=True):
        if arm != WHOLE and abs(float(arm.partition("%")[0]) / 100 - unread) > 0.02:
            found.append(f"{arm}: {unread:.1%} of the pixels are measured as never read.")
    return tuple(found)
