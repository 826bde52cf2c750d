"""Model-inversion attacks of mibench, compositions of shared parts. Listing them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from mibench.api import AttackSpec, hookimpl


@hookimpl
def mibench_attacks() -> Iterator[AttackSpec]:
    """Describe the attacks and the baselines of this distribution."""
    yield AttackSpec(
        name="ppa",
        factory="mibench_attacks.ppa:PlugAndPlay",
        summary="Plug & Play Attack: search a public generator's latents under random crops",
        paper="ppa.bib",
        access="white-box",
    )
    yield AttackSpec(
        name="prior-topconf",
        factory="mibench_attacks.baselines:PriorTopConfidence",
        summary="Floor control: the prior's samples that the target likes best, not optimised",
        access="scores",
        baseline=True,
    )
    yield AttackSpec(
        name="prior-random",
        factory="mibench_attacks.baselines:PriorRandom",
        summary="Floor control: random samples of the prior, the target is never asked",
        access="labels",
        baseline=True,
    )
