"""What boards make of paired comparisons: scores that rows share, the flag of lookalikes, what a board can see."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from mibench.leaderboard.met import Attacks
from mibench.leaderboard.variants import attack_digest
from mibench.results.differences import Difference, to_control
from mibench.results.display import difference
from mibench.results.people import Scores, scores_of
from mibench.results.record import Flag, Record

NOT_ABOVE = "not-above-lookalike"
"""Flag of a row that no attack lifts above public images that happen to look alike."""
LEVEL = 0.05


def scores_by_identity(attacks: Attacks, headline: str) -> Scores:
    """Return what leaked under a row's attacks, in their order; they are named by settings, as in every other row."""
    return scores_of({_identity(group): group for group in attacks.values()}, headline)


def not_above_lookalike(attacks: Attacks) -> Flag | None:
    """Return the flag of a row that is not above the lookalikes (paired, one-sided at 5 %); ``None`` without any."""
    made = to_control(attacks, "lookalike")
    if made is None or (made.p_above is not None and made.p_above < LEVEL):
        return None
    text = difference(made.value, made.ci95)
    return Flag(id=NOT_ABOVE, text=f"no attack lifts it above public images that look alike ({text})")


def smallest_seen(found: Sequence[Difference | None]) -> float | None:
    """Return the median over rows of the smallest difference to the undefended target that a row can show.

    Rows that lack seeds of others do not count: the board asks for more than they have.
    """
    known = [(len(one.seeds), one.smallest) for one in found if one and one.smallest]
    most = max((seeds for seeds, _ in known), default=0)
    return median(size for seeds, size in known if seeds == most) if known else None


def _identity(records: Sequence[Record]) -> str:
    return f"{records[0].cell.attack_label} {attack_digest(records[0])}"
