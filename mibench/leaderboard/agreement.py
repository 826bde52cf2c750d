"""When two runs of a cell agree: a rule that follows from stated numbers alone."""

from __future__ import annotations

from mibench.leaderboard.attestation import Kind, Number, Outcome, Pair, Statement
from mibench.results.columns import clean_accuracy
from mibench.results.io import label
from mibench.results.normalize import headline
from mibench.results.paired import compare
from mibench.results.people import scores_of
from mibench.results.record import MetricValue, Record
from mibench.results.repeated import TOLERANCE, changes, close, columns

RULES: dict[Kind, str] = {
    "ran": "",
    "regraded": "every column, its interval and its value for every person differ by no more than rounding"
    f" ({TOLERANCE:g}, absolute or relative)",
    "reproduced": "each headline lies in the other's 95 % interval over people, and so does one of the two accuracies",
}
"""The rules by which an outcome is "agrees". It is "equal" where no column differs by more than rounding."""


def statement(kind: Kind, published: Record, found: Record) -> Statement:
    """Compare a record with what somebody found, and return what is to be said of it."""
    seen = changes(published, found)
    before, after = columns(published), columns(found)
    names = [change.column for change in seen if not change.held]
    made = Statement(
        record=published.digest,
        cell=label(published)[:200],
        found=found.digest,
        columns=len(seen),
        headline=_pair(headline(published), headline(found)),
        accuracy=_pair(*(clean_accuracy(record.metrics) for record in (published, found))),
        moved={name: _pair(before.get(name), after.get(name)) for name in names},
        difference=_difference(published, found) if kind == "reproduced" else None,
    )
    return made.model_copy(update={"outcome": outcome_of(kind, made)})


def outcome_of(kind: Kind, made: Statement) -> Outcome | None:
    """Return what a statement's own numbers say by the rule of its kind; ``None`` where nothing was compared."""
    if kind == "ran" or made.headline is None:
        return None
    if not made.moved and _held(made.headline) and _held(made.accuracy):
        return "equal"
    if kind == "regraded":
        return "differs"
    return "agrees" if _agree(made.headline, both=True) and _agree(made.accuracy, both=False) else "differs"


def _held(pair: Pair | None) -> bool:
    """Tell whether a column, its interval included, came out equal or within rounding."""
    if pair is None or pair.published is None or pair.found is None:
        return pair is None or pair.published == pair.found
    before, after = ([one.value, *(one.ci95 or (None, None))] for one in (pair.published, pair.found))
    return close(before, after)


def _agree(pair: Pair | None, *, both: bool) -> bool:
    if pair is None or pair.published is None or pair.found is None:
        return pair is None or pair.published == pair.found
    lies = [_inside(pair.published.value, pair.found), _inside(pair.found.value, pair.published)]
    return all(lies) if both else any(lies)


def _inside(value: float, number: Number) -> bool:
    low, high = number.ci95 or (number.value, number.value)
    return low - TOLERANCE <= value <= high + TOLERANCE


def _pair(before: MetricValue | None, after: MetricValue | None) -> Pair:
    return Pair(published=_number(before), found=_number(after))


def _number(metric: MetricValue | None) -> Number | None:
    return Number(value=metric.value, ci95=metric.ci95) if metric else None


def _difference(published: Record, found: Record) -> Number | None:
    """Return the paired difference of the headline, found minus published, in its own units."""
    name, lead = published.protocol.headline, headline(published)
    made = compare(scores_of({"": [found]}, name), scores_of({"": [published]}, name))
    if made is None or lead is None:
        return None
    sign = -1.0 if lead.higher_is_better else 1.0
    interval = sorted(sign * end for end in made.ci95) if made.ci95 else None
    return Number(value=sign * made.value, ci95=(interval[0], interval[1]) if interval else None)
