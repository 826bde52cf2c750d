"""Which part of AT-AT protects: the adversarial direction, or the wrong labels that come with it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pandas as pd
from annotated_types import Gt, Lt

from mibench.api import Answer, Arm, Design, Difference, Findings, Study, StudyContext, StudyEvidence
from mibench_studies.figures import canvas, finished, forest
from mibench_studies.frames import arms_frame, as_table, cells_frame, targets_frame

ADVERSARIAL, RANDOM, STILL, SMOOTH = "atat", "atat random direction", "atat no perturbation", "label smoothing"
LEVEL = 0.05
TIMES = " x"
"""Between the name of an arm and the multiple of its strength."""


@dataclass(frozen=True, kw_only=True)
class Mechanism(Study):
    """AT-AT beside arms that keep all of it but one thing, under each attack apart.

    The arms: random directions of the same length; no perturbation, which is label smoothing in expectation; label
    smoothing of the same strength; NegLS; adversarial training; and plain training. Attacks differ in what they can use
    (gradients through a learnt prior or the true one, or none), so a verdict is over all of them, with the table saying
    which. An arm whose accuracy is further than ``slack`` from AT-AT's is compared, but not at equal accuracy, and
    decides nothing.

    Attributes:
        slack: difference of accuracy up to which two arms are equally accurate.
        margin: share of AT-AT's reduction that another arm may miss and still protect as well.
        factors: multiples of its strength at which every other arm is trained, too. Of each arm the setting whose
            accuracy is nearest to AT-AT's is compared, whatever it leaks.
    """

    claim: ClassVar[str] = "What protects in AT-AT is the adversarial direction of its perturbations."
    rule: ClassVar[str] = (
        "It holds if under one attack at least AT-AT leaks less than plain training, than random directions and than no"
        " perturbation, the last two at equal accuracy, paired over people at 5 % after Holm over these comparisons"
        " under all"
        " attacks. It does not hold if AT-AT leaks less than plain training under some attack (5 %, Holm), and"
        " under each of"
        " these an equally accurate arm without adversarial directions leaks no more than AT-AT plus the margin, by"
        " the upper"
        " end of the paired 95 % interval. Else it cannot be told."
    )

    slack: Annotated[float, Gt(0), Lt(1)] = 0.03
    margin: Annotated[float, Gt(0), Lt(1)] = 0.25
    factors: tuple[Annotated[float, Gt(0)], ...] = ()

    def design(self, ctx: StudyContext) -> Design:
        """Return seven arms. Label smoothing takes lam / (1 + lam), which is that of AT-AT for many classes."""
        settled = ctx.settled("atat")
        lam, ball = float(settled["lam"]), {name: settled[name] for name in ("eps", "step_size")}
        arms = [Arm(name="none", family="none"), Arm(name=ADVERSARIAL, defense="atat", family="at-at")]
        for factor in (1.0, *(factor for factor in self.factors if factor != 1)):
            strong = lam * factor
            kinds: tuple[tuple[str, str, dict[str, Any], str], ...] = (
                (RANDOM, "atat/random-delta", {**ball, "lam": strong}, "at-at"),
                (STILL, "atat/no-delta", {**ball, "lam": strong}, "at-at"),
                (SMOOTH, "negls/ls-half", {"alpha": strong / (1 + strong)}, "smoothing"),
                ("negls", "negls", _scaled(ctx, "negls", "alpha", factor), "smoothing"),
                ("at", "at", _scaled(ctx, "at", "eps", factor), "adversarial"),
            )
            told = "" if factor == 1 else f"{TIMES}{factor:g}"
            arms += [Arm(name=f"{n}{told}", defense=d, params=p, family=f) for n, d, p, f in kinds]
        return Design(arms=tuple(arms), notes={"lam": lam})

    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Compare arms, attack by attack.

        Raises:
            TooFewRecords: if one of the four arms that decide has no record, or they share fewer than two people.
        """
        cells = cells_frame(evidence)
        for name in ("none", ADVERSARIAL, RANDOM, STILL):
            have = 0 if cells.empty else int((cells["arm"] == name).sum())
            evidence.require(have, 1, f"records of the arm {name!r}")
        attacks = tuple(dict.fromkeys(cells["attack"]))
        accuracy = arms_frame(targets_frame(evidence)).set_index("arm")["accuracy"]
        chosen = nearest({str(arm): float(value) for arm, value in accuracy.items()})
        rows = [row for attack in attacks for row in _rows(evidence, chosen, attack, accuracy, self.slack)]
        evidence.require(len(rows), 1, "comparisons of arms (two people, and a seed and an attack in common)")
        table = _corrected(pd.DataFrame(rows))
        access = dict(zip(cells["attack"], cells["access"], strict=True))
        table.insert(1, "access", [access[attack] for attack in table["attack"]])
        answer, told = self._verdict(table, attacks)
        figure, (axes,) = canvas()
        against = table[(table["other"] == "none") & table["equal accuracy"].notna()]
        forest(
            axes,
            [(f"{r.arm} · {r.attack}", r.difference, (r.low, r.high)) for r in against.itertuples()],
            group=list(against["attack"]),
        )
        axes.set_xlabel(f"{evidence.headline} minus plain training")
        summary = arms_frame(targets_frame(evidence))
        success = {cell.arm: cell.signals.get("targeted_success") for cell in evidence.cells}
        summary["targeted_success"] = [success.get(arm) for arm in summary["arm"]]
        return Findings(
            answer=answer,
            verdict=told,
            tables={
                "comparisons": as_table(table, "Paired comparisons under each attack"),
                "arms": as_table(
                    summary[["arm", "leakage", "accuracy", "targeted_success", "seeds"]],
                    "Arms, worst case over attacks",
                ),
            },
            figures={
                "differences": finished(figure, "Leakage minus plain training", "One line for each arm and attack.")
            },
            notes=("An attack's access and prior are those of the protocol; see its suite.",),
        )

    def _verdict(self, table: pd.DataFrame, attacks: tuple[str, ...]) -> tuple[Answer, str]:
        """Apply the rule; differences are AT-AT minus the other arm, or an arm minus plain training."""
        helped, special, matched = [], [], []
        for attack in attacks:
            own = table[(table["attack"] == attack)].set_index(["arm", "other"])
            if not _below(own, (ADVERSARIAL, "none")):
                continue
            helped.append(attack)
            if all(
                _below(own, (ADVERSARIAL, other)) and _equal(own, (ADVERSARIAL, other)) for other in (RANDOM, STILL)
            ):
                special.append(attack)
            allowed = self.margin * -float(_cell(own, (ADVERSARIAL, "none"), "difference"))
            others = (RANDOM, STILL, SMOOTH)
            if any(
                _equal(own, (ADVERSARIAL, other)) and -float(_cell(own, (ADVERSARIAL, other), "low")) < allowed
                for other in others
                if (ADVERSARIAL, other) in own.index
            ):
                matched.append(attack)
        if special:
            return "holds", f"Under {', '.join(special)} AT-AT leaks less than the arms without its direction."
        if not helped:
            return (
                "cannot be told",
                f"Under none of {', '.join(attacks)} AT-AT is found to leak less than plain training.",
            )
        if set(helped) == set(matched):
            told = (
                f"AT-AT lowers leakage under {', '.join(helped)}, and under each an arm without its direction does so"
            )
            return "does not hold", f"{told} within {self.margin:.0%} of its reduction."
        return "cannot be told", (
            f"AT-AT lowers leakage under {', '.join(helped)}; the arms without its direction are neither found to"
            f" leak more"
            " nor to leak as little."
        )


def nearest(accuracy: Mapping[str, float]) -> dict[str, str]:
    """Return, for each arm without its multiple, the setting whose accuracy is nearest to AT-AT's."""
    found: dict[str, str] = {}
    for arm in accuracy:
        base = arm.partition(TIMES)[0]
        apart = [abs(accuracy[one] - accuracy[ADVERSARIAL]) for one in (arm, found.get(base, arm))]
        found[base] = arm if apart[0] <= apart[1] else found[base]
    return found


def _scaled(ctx: StudyContext, name: str, parameter: str, factor: float) -> dict[str, Any]:
    """Return a parameter times a factor; nothing at 1, where a defense is as the protocol has it."""
    return {} if factor == 1 else {parameter: float(ctx.settled(name)[parameter]) * factor}


def _rows(
    evidence: StudyEvidence, chosen: Mapping[str, str], attack: str, accuracy: pd.Series[float], slack: float
) -> list[dict[str, Any]]:
    pairs = [(arm, "none") for arm in chosen if arm != "none"]
    pairs += [(ADVERSARIAL, other) for other in chosen if other not in (ADVERSARIAL, "none")]
    found = []
    for arm, other in pairs:
        made: Difference | None = evidence.compare(chosen[arm], chosen[other], (attack,))
        if made is None or made.ci95 is None:
            continue
        gap = float(accuracy[chosen[arm]] - accuracy[chosen[other]])
        found.append(
            {
                "attack": attack,
                "arm": arm,
                "other": other,
                "settings": " against ".join(chosen[one] for one in (arm, other)),
                "difference": made.value,
                "low": made.ci95[0],
                "high": made.ci95[1],
                "p": made.p,
                "accuracy difference": gap,
                "equal accuracy": abs(gap) <= slack,
                "people": made.people,
                "seeds": made.seeds,
            }
        )
    return found


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's p over all comparisons that decide, and over each of the others alone."""
    deciding = table["arm"].eq(ADVERSARIAL) & table["other"].isin(["none", RANDOM, STILL])
    order = table.loc[deciding, "p"].sort_values()
    worst, holm = 0.0, {}
    for place, (index, p) in enumerate(order.items()):
        worst = max(worst, min(1.0, p * (len(order) - place)))
        holm[index] = worst
    return table.assign(holm=[holm.get(index) for index in table.index])


def _cell(own: pd.DataFrame, key: tuple[str, str], column: str) -> Any:
    return own[column].get(key)


def _below(own: pd.DataFrame, key: tuple[str, str]) -> bool:
    if key not in own.index:
        return False
    p = _cell(own, key, "holm")
    return bool(pd.notna(p) and p < LEVEL and _cell(own, key, "difference") < 0)


def _equal(own: pd.DataFrame, key: tuple[str, str]) -> bool:
    return key in own.index and bool(_cell(own, key, "equal accuracy"))
