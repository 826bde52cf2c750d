"""A record against another of the same evidence, or of the same cell: every column, and what of it moved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from mibench.results.record import MetricValue, Record

Verdict = Literal["equal", "within", "moved", "new", "gone"]
TOLERANCE = 1e-6
"""Another machine adds up in another order; numbers that differ by no more than this, or by this share of themselves,
are within it. A single image that is judged otherwise moves a share by far more."""


class Change(NamedTuple):
    """A column of two records.

    Attributes:
        column: its name; those of controls begin with the control's and a colon.
        published: the first record's value; ``None`` if it has no such column.
        found: the second's.
        verdict: ``equal`` if value, interval, count and every class are, ``within`` the tolerance, ``moved``; or it is
            ``new`` or ``gone``.
    """

    column: str
    published: float | None
    found: float | None
    verdict: Verdict

    @property
    def held(self) -> bool:
        """Whether it came out as published."""
        return self.verdict in ("equal", "within")


def changes(published: Record, found: Record) -> list[Change]:
    """Return what became of each column, in the order of the first record."""
    before, after = columns(published), columns(found)
    return [_change(name, before.get(name), after.get(name)) for name in {**before, **after}]


def columns(record: Record) -> dict[str, MetricValue]:
    """Return all columns of a record, those of its controls included."""
    parts: dict[str, Mapping[str, MetricValue]] = {"": record.metrics}
    parts |= {f"{name}: ": metrics for name, metrics in record.controls.items()}
    return {f"{prefix}{name}": metric for prefix, metrics in parts.items() for name, metric in metrics.items()}


def worst(found: Iterable[Change]) -> Verdict:
    """Return the verdict on a whole record: ``moved`` if a column did, came or went, else the weakest of the rest."""
    verdicts = {change.verdict for change in found}
    if verdicts - {"equal", "within"}:
        return "moved"
    return "within" if "within" in verdicts else "equal"


def _change(name: str, before: MetricValue | None, after: MetricValue | None) -> Change:
    if before is None or after is None:
        value = (before.value if before else None, after.value if after else None)
        return Change(name, *value, "new" if before is None else "gone")
    one, other = _numbers(before), _numbers(after)
    if one == other:
        verdict: Verdict = "equal"
    else:
        verdict = "within" if close(one, other) else "moved"
    return Change(name, before.value, after.value, verdict)


def _numbers(metric: MetricValue) -> list[float | None]:
    return [metric.value, *(metric.ci95 or (None, None)), float(metric.n), *metric.per_class]


def close(one: list[float | None], other: list[float | None]) -> bool:
    """Tell whether numbers are equal or within rounding, each beside its own; ``None`` is equal to itself alone."""
    if len(one) != len(other):
        return False
    return all(
        a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE))
        for a, b in zip(one, other, strict=True)
    )
