"""One line of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.standing import Standing
from mibench.results.differences import Difference
from mibench.results.people import Scores
from mibench.results.record import Flag, Record


class Maximum(NamedTuple):
    """How much of a worst case is the luck of the best of several attacks.

    Attributes:
        bias: by how much resampling people and seeds raises it, in units of the headline.
        corrected: the leakage without that.
        best: share of resamples in which each attack is the best.
    """

    bias: float
    corrected: float
    best: Mapping[str, float]


class Found(NamedTuple):
    """The worst case over all attacks within the threat model, required or not.

    Attributes:
        leakage: the headline.
        attack: the attack that reached it.
    """

    leakage: Estimate
    attack: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a board.

    Attributes:
        protocol: ``name@version``.
        model: architecture.
        defense: defense.
        defense_version: version of its numbers.
        params: its parameters.
        params_digest: first 12 digits of the digest of version and parameters.
        note: what tells this row from others of the same model and defense by name, or if there are none, the preset
            where that is not the protocol's, of the defense and of the model; else empty.
        leakage: headline, worst case over the attacks that the protocol requires, or over all if it requires none.
        unit: unit of the headline.
        higher_is_better: direction of the headline, from the defender's point of view.
        worst_attack: name of the attack that reached it, as in ``attacks``.
        difference: leakage minus that of the undefended control, paired; ``None`` for the undefended target itself.
        maximum: the bias of the worst case, and how often each attack is the best.
        worst_found: worst case over all attacks; ``None`` where the protocol requires none and ``leakage`` is that.
        attack_accuracy: top-1 under evaluators, worst case over attacks and evaluators.
        normalized: leakage between floor (0) and gold (1); ``None`` if the two cannot be told apart.
        accuracy: clean accuracy.
        robust: robust accuracy by radius times 255, smallest first.
        floor: headline on samples that nobody optimised.
        lookalike: headline on public images that happen to look alike; ``None`` where the protocol has no such control.
        gold: headline on held-out private images.
        chance: what a blind guess has; ``None`` where the metric does not say.
        undefended: headline of the worst attack without a defense.
        attacks: names of the attacks that were run, without baselines: bare with the protocol's settings, else with the
            preset, and with what differs if that does not tell two of them apart.
        seeds: target seeds behind the worst attack.
        classes: attacked people.
        flags: computed flags of all records, one for each identifier.
        unranked: flags for which the row is shown without a rank.
        missing: seeds that are missing, by attack that the protocol requires.
        complete_with: the command that runs what is missing; empty if nothing is.
        reported: columns that do not follow from per-class values and have to be believed.
        standing: how well its records are attested, and by whom.
        scores: what paired tests need.
        records: what the row was made of.
        rank: shared by rows that cannot be told from the first of their group; 0 before ranking, and without a rank.
    """

    protocol: str
    model: str
    defense: str
    defense_version: str
    params: Mapping[str, Any]
    params_digest: str
    note: str = ""
    leakage: Estimate
    unit: str
    higher_is_better: bool
    worst_attack: str
    difference: Difference | None
    maximum: Maximum | None
    worst_found: Found | None
    attack_accuracy: Estimate | None
    normalized: float | None
    accuracy: Estimate | None
    robust: Mapping[str, Estimate]
    floor: float | None
    lookalike: float | None
    gold: float | None
    chance: float | None
    undefended: float | None
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    classes: int
    flags: tuple[Flag, ...] = field(default=())
    unranked: tuple[str, ...] = ()
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    complete_with: str = ""
    reported: tuple[str, ...] = ()
    standing: Standing = Standing()
    scores: Scores = field(repr=False, compare=False)
    records: tuple[Record, ...] = field(repr=False, compare=False)
    rank: int = 0


def board_controls(rows: Sequence[Row]) -> dict[str, float]:
    """Return chance, floor, lookalike and gold as means of rows, each of which has its own; without what none has."""
    found = {which: [getattr(row, which) for row in rows] for which in ("chance", "floor", "lookalike", "gold")}
    known = {which: [one for one in values if one is not None] for which, values in found.items()}
    return {which: fmean(values) for which, values in known.items() if values}
