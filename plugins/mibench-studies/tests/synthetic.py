"""Made-up evidence with planted effects, and paired comparisons of it by Student's t over people."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy import stats

from mibench.api import Arm, CellResult, Design, Difference, Number, Quantity, StudyEvidence

PEOPLE = 40
COMMAND = "mibench study run made-up"


def number(value, *, up=False, per_class=(), unit="fraction", **stated):
    values = tuple(float(v) for v in per_class)
    return Number(
        value=float(value), ci95=None, unit=unit, higher_is_better=up, quantity=Quantity(**stated), per_class=values
    )


def cell(
    arm,
    seed,
    *,
    leakage,
    accuracy=0.9,
    attack="map",
    defense=None,
    family="",
    robust=None,
    signals=None,
    flags=(),
    gold=1.0,
    **more,
):
    """A finished cell: leakage is one number, or one per person; the floor is 0."""
    people = np.broadcast_to(np.asarray(leakage, float), (PEOPLE,))
    known = np.clip(np.full(PEOPLE, accuracy), 0, 1)
    metrics = {
        "bits": number(people.mean(), per_class=people, unit="bits", base="bits"),
        "accuracy": number(accuracy, up=True, per_class=known, role="accuracy", base="accuracy", k=1),
        "attack_acc@1/judge": number(0.5, role="attack_accuracy", base="attack_acc", k=1, evaluator="judge"),
    }
    for radius, value in (robust or {}).items():
        metrics[f"robust_acc@{radius:g}"] = number(
            value, up=True, role="robust_accuracy", base="robust_acc", radius=radius / 255
        )
    metrics |= {name: number(value, base=name) for name, value in more.items()}
    return CellResult(
        arm=arm,
        family=family,
        model="net",
        defense=defense or arm,
        params={},
        attack=attack,
        seed=seed,
        metrics=metrics,
        controls={name: {"bits": number(value, unit="bits")} for name, value in (("floor", 0.0), ("gold", gold))},
        headline="bits",
        leakage=float(people.mean()),
        signals=signals or {},
        flags=flags,
    )


def evidence(cells, arms=None, notes=None):
    names = arms or list(dict.fromkeys(one.arm for one in cells))
    by_arm = defaultdict(dict)
    for one in cells:
        by_arm[one.arm][one.attack, one.seed] = np.array(one.metrics["bits"].per_class)

    def compare(first, second, attacks):
        keys = [k for k in by_arm[first] if k in by_arm[second] and (not attacks or k[0] in attacks)]
        if not keys:
            return None
        gaps = np.mean([by_arm[first][k] - by_arm[second][k] for k in keys], axis=0)
        if gaps.std() == 0:
            return Difference(
                value=gaps.mean(), ci95=(gaps.mean(),) * 2, p=1.0 if gaps.mean() == 0 else 0.0, people=PEOPLE, seeds=1
            )
        half = stats.t.ppf(0.975, PEOPLE - 1) * gaps.std(ddof=1) / PEOPLE**0.5
        p = float(stats.ttest_1samp(gaps, 0).pvalue)
        mean = float(gaps.mean())
        return Difference(value=mean, ci95=(mean - half, mean + half), p=p, people=PEOPLE, seeds=len(keys))

    return StudyEvidence(
        study="made-up",
        protocol="made-up@1.0",
        headline="bits",
        unit="bits",
        design=Design(arms=tuple(Arm(name=name) for name in names), notes=notes or {}),
        cells=tuple(cells),
        command=COMMAND,
        compare=compare,
    )


def rng(seed=0):
    return np.random.default_rng(seed)


def mechanism(direction=0.0, wrong_labels=0.0, *, accuracy=None):
    """AT-AT lowers leakage by what its direction does, and by what its wrong labels do, which other arms share."""
    draw, cells = rng(1), []
    effects = {
        "none": 0.0,
        "atat": direction + wrong_labels,
        "atat random direction": wrong_labels,
        "atat no perturbation": wrong_labels,
        "label smoothing": wrong_labels,
        "negls": 0.0,
        "at": 0.0,
    }
    base = 3 + draw.normal(0, 1, PEOPLE)
    for attack in ("map", "ppa"):
        for arm, effect in effects.items():
            people = base - effect + draw.normal(0, 0.3, PEOPLE)
            cells.append(cell(arm, 0, leakage=people, attack=attack, accuracy=(accuracy or {}).get(arm, 0.9)))
    return evidence(cells)


DEFENSES = ("none", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k")


def trade_off(slope=0.7, of_accuracy=0.0, seeds=4, defenses=DEFENSES, own=0.0):
    """Leakage follows robust accuracy at the middle radius with this slope, and clean accuracy with the other.

    ``own`` is what defenses differ by else, if the slope is 0.
    """
    draw, cells = rng(2), []
    apart = own * rng(8).permutation(np.linspace(-1, 1, len(defenses)))
    for place, defense in enumerate(defenses):
        level = 0.1 + 0.8 * place / max(1, len(defenses) - 1)
        for seed in range(seeds):
            accuracy = 0.9 + draw.normal(0, 0.02)
            middle = np.clip(level + draw.normal(0, 0.02), 0.01, 0.99)
            small = np.clip(0.85 + 0.1 * draw.normal(0, 0.3), 0, 1)
            leakage = np.clip(0.1 + slope * middle + of_accuracy * (accuracy - 0.9) + draw.normal(0, 0.02), 0.01, 0.99)
            if slope == 0:
                leakage = np.clip(
                    0.5 + apart[place] + of_accuracy * (accuracy - 0.9) + draw.normal(0, 0.03), 0.01, 0.99
                )
            cells.append(
                cell(
                    defense,
                    seed,
                    leakage=leakage,
                    accuracy=accuracy,
                    defense=defense,
                    family="none" if defense == "none" else "dependency",
                    robust={0.5: small, 1.0: middle, 8.0: 0.0},
                )
            )
    return evidence(cells)


def dependency(corr=1.0, arms=24):
    draw, cells = rng(3), []
    for place in range(arms):
        hsic = 10 + place
        leakage = 0.02 * corr * place + draw.normal(0, 0.03 if corr else 0.3) + 1
        noise = draw.normal(0, 1, 3)
        cells.append(
            cell(
                f"arm {place}",
                0,
                leakage=leakage,
                hsic_xz=hsic,
                hsic_xz_corrected=noise[0],
                cka_xz=noise[1],
                hsic_median_xz=noise[2],
            )
        )
    return evidence(cells)


def trial(effect=0.4, random_direction=None, n=5):
    """Treated leak less by ``effect``; random directions by theirs, if there is such an arm."""
    draw, cells = rng(4), []
    effects = {"control": 0.0, "treated": effect}
    effects |= {} if random_direction is None else {"random direction": random_direction}
    for number_, (arm, own) in enumerate(effects.items()):
        for place in range(n):
            leakage = np.clip(0.8 - own + draw.normal(0, 0.02), 0.01, 0.99)
            cells.append(cell(arm, number_ + len(effects) * place, leakage=leakage))
    return evidence(cells, list(effects), {"assignment": {arm: [0] for arm in effects}})


def memorisation(nearer=0.2, seeds=5, memorised=1.0):
    """Reconstructions of memorising targets are nearer to the images they were given by ``nearer``."""
    draw, cells = rng(5), []
    for arm, gap, fitted, accuracy in (
        ("true labels", 0.0, 1.0, 0.95),
        ("50% permuted labels", nearer / 2, memorised, 0.5),
        ("100% permuted labels", nearer, memorised, 0.01),
    ):
        for seed in range(seeds):
            distance = 1.0 - gap + draw.normal(0, 0.02)
            own = {"memorised": fitted} if arm != "true labels" else {}
            cells.append(
                cell(
                    arm,
                    seed,
                    leakage=0.3,
                    accuracy=accuracy,
                    signals=own,
                    train_acc=1.0 if arm == "true labels" else 0.01,
                    train_l2_assigned=distance,
                    train_l2_any=distance / 2,
                    train_l2_true=distance,
                )
            )
    return evidence(cells)


def unseen(left=0.8, seeds=3, deeper=None):
    """Targets that read hardly any pixel leak this share of what undefended ones do, the blindest another one."""
    draw, cells = rng(6), []
    for seed in range(seeds):
        cells.append(cell("all pixels", seed, leakage=0.5, unread_pixels=0.0, fil=1.0))
        for method in ("transform", "layer"):
            for share in (0.5, 0.9, 0.95):
                shares = {0.9: left, 0.95: left if deeper is None else deeper}
                leakage = 0.5 * shares.get(share, 1) + draw.normal(0, 0.005)
                cells.append(
                    cell(
                        f"{share:.0%} hidden, {method}",
                        seed,
                        leakage=leakage,
                        family=method,
                        unread_pixels=int(4096 * share) / 4096,
                        fil=1 - share,
                    )
                )
    return evidence(cells)


def matched(better=1.0, accuracy=0.89, scale=1.0, draw=0.3):
    """Defense ``good`` leaks less by ``better`` at this accuracy; ``bad`` buys it with accuracy; gold is 5; all scaled.

    People differ by 1 and, from arm to arm, by ``draw``.
    """
    generator, cells = rng(7), []
    base = 3 + generator.normal(0, 1, PEOPLE)
    arms = {"none": ("none", 0.0, 0.9), "good": ("good", better, accuracy), "good lam=2": ("good", better * 1.5, 0.5)}
    arms |= {"bad": ("bad", 2.0, 0.6), "bad x=2": ("bad", 2.5, 0.3)}
    for arm, (defense, effect, known) in arms.items():
        people = base - effect + generator.normal(0, draw, PEOPLE)
        cells.append(cell(arm, 0, leakage=people * scale, accuracy=known, defense=defense, gold=5 * scale))
    return evidence(cells)
