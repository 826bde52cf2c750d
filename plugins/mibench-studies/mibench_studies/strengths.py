"""The parameter of a defense that says how strong it is, and how it is swept."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from mibench.api import Arm, StudyContext

STRENGTH = {
    "at": "eps",
    "atat": "lam",
    "bido": "lambda_x",
    "feature-noise": "sd",
    "mid": "beta",
    "midre": "area_max",
    "negls": "alpha",
    "smoothing": "sigma",
    "trap-mid": "beta",
}
"""By defense; those that are not here have no parameter that goes from no defense to a strong one."""
LARGEST = {"midre": 1.0}
"""Where the parameter ends, by defense; a multiple beyond it is the end."""
SMALLEST = {"midre": "area_min"}
"""By defense, the parameter below which its strength cannot fall; a multiple beyond it is that."""
NOT_A_DEFENSE = frozenset({"random-labels", "unseen-pixels"})
"""Experiments that are studied apart."""


def one_of_each(ctx: StudyContext) -> list[Arm]:
    """Return the undefended arm, and one for each installed defense as the protocol has it."""
    names = sorted(ctx.defenses.keys() - NOT_A_DEFENSE - {ctx.undefended})
    plain = Arm(name=ctx.undefended, family="none")
    return [plain, *(Arm(name=n, defense=n, family=ctx.defenses[n], optional=True) for n in names)]


def sweep(ctx: StudyContext, factors: Sequence[float], names: Sequence[str] = ()) -> list[Arm]:
    """Return arms whose strength is a multiple of what a defense has under the protocol.

    Args:
        ctx: installed defenses and their parameters.
        factors: multiples; what comes to the protocol's own value is left out, it is an arm of :func:`one_of_each`.
        names: defenses; all that have a strength if empty.
    """
    arms = []
    for name in names or sorted(STRENGTH):
        if name not in ctx.defenses:
            continue
        parameter = STRENGTH[name]
        settled = ctx.settled(name)
        base, low = float(settled[parameter]), float(settled.get(SMALLEST.get(name, ""), -inf))
        products = (max(low, min(base * factor, LARGEST.get(name, inf))) for factor in factors)
        # To 12 digits: .05 times .1 is .005, as a user would write it, and so has the same key.
        for value in dict.fromkeys(float(f"{product:.12g}") for product in products if product != base):
            label = f"{name} {parameter}={value:.3g}"
            arms.append(
                Arm(name=label, defense=name, params={parameter: value}, family=ctx.defenses[name], optional=True)
            )
    return arms
