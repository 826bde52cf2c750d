"""Do models that memorise most leak most? True labels against permuted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pandas as pd
from annotated_types import Gt, Le

from mibench.api import Answer, Arm, Design, ExtraMetric, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, scatter
from mibench_studies.frames import arms_frame, as_table, need_columns, targets_frame
from mibench_studies.stats.permutation import welch
from mibench_studies.stats.ranks import spearman

LEAST = 3
TRUE = "true labels"


@dataclass(frozen=True, kw_only=True)
class MemorisationStudy(Study):
    """Targets that are trained on permuted labels can only memorise; do attacks find more in them, or less?

    Attack accuracy asks for the true person and means nothing with permuted labels. What counts is how near
    reconstructions come to the images that the target was given for the class (``train_l2_assigned``, smaller is more
    leakage). A target's memorisation is its accuracy on the labels it was trained on, less its accuracy on new images.

    Source: Zhang et al., ICLR 2017; as an inversion experiment Torp, Smith and Breuer, ICLR 2026.

    Attributes:
        shares: of the labels that are permuted.
    """

    claim: ClassVar[str] = "Models that memorise most leak most."
    rule: ClassVar[str] = (
        "It holds if reconstructions of the targets with most permuted labels are nearer to the images they were"
        " trained on"
        " for the class than those with true labels, by Welch's 95 % interval over seeds; it does not hold if they"
        " are further"
        " away by that interval. Else it cannot be told. It cannot be told either if the former did not memorise more."
    )

    shares: tuple[Annotated[float, Gt(0), Le(1)], ...] = (0.5, 1.0)

    def metrics(self) -> Sequence[ExtraMetric]:
        """Return memorisation, and distances to training images."""
        return (ExtraMetric(name="memorisation"), ExtraMetric(name="training-distance"))

    def design(self, ctx: StudyContext) -> Design:
        """Return true labels, and a permutation of its own for each seed."""
        permuted = (
            Arm(name=_name(share), defense="random-labels", params={"share": share, "follow_seed": True})
            for share in sorted(self.shares)
        )
        return Design(arms=(Arm(name=TRUE), *permuted))

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Compare the extremes.

        Raises:
            TooFewRecords: with fewer than three seeds of true, or of most permuted labels.
        """
        targets = targets_frame(evidence)
        most = _name(max(self.shares))
        need_columns(evidence, targets, ("train_acc", "train_l2_assigned"))
        known = {(cell.arm, cell.seed): cell.signals.get("memorised") for cell in evidence.cells}
        fitted = [known[key] for key in zip(targets["arm"], targets["seed"], strict=True)]
        targets["fitted"] = [
            own if own is not None else train for own, train in zip(fitted, targets["train_acc"], strict=True)
        ]
        targets["memorised"] = targets["fitted"] - targets["accuracy"]
        targets["train_l2_assigned"] = _nearest(evidence, targets)
        groups = {name: targets[targets["arm"] == name].dropna(subset=["train_l2_assigned"]) for name in (TRUE, most)}
        for name, own in groups.items():
            evidence.require(len(own), LEAST, f"targets of the arm {name!r}")
        made = welch(groups[most]["train_l2_assigned"], groups[TRUE]["train_l2_assigned"])
        learnt = welch(groups[most]["memorised"], groups[TRUE]["memorised"])
        answer: Answer = "cannot be told"
        if made.ci95 and learnt.difference > 0:
            answer = "holds" if made.ci95[1] < 0 else "does not hold" if made.ci95[0] > 0 else answer
        ranks = spearman(targets["memorised"], -targets["train_l2_assigned"])
        interval = "without an interval" if made.ci95 is None else f"[{made.ci95[0]:.3f}, {made.ci95[1]:.3f}]"
        figure, (axes,) = canvas()
        scatter(axes, list(targets["memorised"]), list(targets["train_l2_assigned"]), list(targets["arm"]))
        axes.set_xlabel("accuracy on trained labels less accuracy on new images")
        axes.set_ylabel("squared distance to the images of the class")
        shown = ["arm", "seed", "accuracy", "train_acc", "fitted", "memorised", "leakage"]
        shown += [name for name in targets.columns if name.startswith("train_l2")]
        return Findings(
            answer=answer,
            verdict=f"With {most} targets memorised {learnt.difference:+.2f} more than with true ones; the distance of"
            f" reconstructions to the images that they were trained on changed by {made.difference:+.3f}"
            f" {interval}. Rank"
            f" correlation of memorisation with nearness over {ranks.pairs} targets: {ranks.value:+.2f}.",
            tables={
                "targets": as_table(targets[shown], "Targets, at the attack that comes nearest"),
                "arms": as_table(_means(targets), "Arms"),
            },
            figures={"memorised": finished(figure, "Nearness against memorisation", "One point for each target.")},
            notes=(
                "Headline leakage of targets with permuted labels asks for the true person; it is shown, and"
                " decides nothing.",
            ),
        )


def _name(share: float) -> str:
    return f"{share:.0%} permuted labels"


def _nearest(evidence: StudyEvidence, targets: pd.DataFrame) -> list[float | None]:
    """Return the smallest distance over attacks of each target."""
    found: dict[tuple[str, int], float] = {}
    for cell in evidence.cells:
        number = cell.metrics.get("train_l2_assigned")
        if number is not None:
            key = cell.arm, cell.seed
            found[key] = min(found.get(key, number.value), number.value)
    return [found.get(key) for key in zip(targets["arm"], targets["seed"], strict=True)]


def _means(targets: pd.DataFrame) -> pd.DataFrame:
    arms = arms_frame(targets)
    return arms[["arm", "accuracy", "fitted", "memorised", "train_l2_assigned", "leakage", "seeds"]]
