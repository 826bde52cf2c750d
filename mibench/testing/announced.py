"""What a metric measured against what its spec announces of the column.

Shapes: N images, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from mibench.api.columns import ExpandedColumn
from mibench.api.metric import Measurement, MetricInputs

_SLACK = 1e-6


def differences(row: Measurement, announced: ExpandedColumn, evidence: MetricInputs) -> Iterator[str]:
    """Yield what is different about a measurement, in words.

    Args:
        row: what was measured, of evidence without a failed class.
        announced: the column.
        evidence: of which it was measured.
    """
    column = announced.column
    for field in ("unit", "higher_is_better"):
        if getattr(row, field) != getattr(column, field):
            yield f"{field} is announced as {getattr(column, field)!r} and measured as {getattr(row, field)!r}"
    if row.quantity.named() != announced.quantity.named():
        yield f"it is announced as {announced.quantity.stated()} and measured as {row.quantity.stated()}"
    present = [value for value in row.per_class if value is not None]
    low = -math.inf if column.low is None else column.low - _SLACK
    high = math.inf if column.high is None else column.high + _SLACK
    outside = [value for value in (row.value, *present) if not low <= value <= high]
    if outside:
        yield f"values are announced from {column.low} to {column.high}, and one is {outside[0]:.6g}"
    yield from _of_images(row, announced, evidence)


def _of_images(row: Measurement, announced: ExpandedColumn, evidence: MetricInputs) -> Iterator[str]:
    images = announced.column.images
    labels_N = evidence.heldout.labels_N if images == "heldout" else evidence.labels_N
    if images != "some" and row.n != len(labels_N):
        yield f"it is announced of all {len(labels_N)} images ({images}) and measured of {row.n}"
    elif images != "some" and announced.column.average:
        counts_K = torch.bincount(labels_N, minlength=len(row.per_class)).tolist()
        pairs = zip(row.per_class, counts_K, strict=True)
        mean = math.fsum((value or 0.0) * count for value, count in pairs) / len(labels_N)
        if abs(mean - row.value) > _SLACK * max(1.0, abs(mean)):
            yield f"it is announced as a mean over images, by its classes {mean:.6g}, and measured as {row.value:.6g}"
    else:
        present = [value for value in row.per_class if value is not None] or [row.value]
        if not min(present) - _SLACK <= row.value <= max(present) + _SLACK:
            yield f"{row.value:.6g} is not between {min(present):.6g} and {max(present):.6g}, as of its classes"
