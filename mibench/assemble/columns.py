"""The columns of a record against those that its metrics announce."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from mibench.api.column_names import beyond_name
from mibench.api.columns import Column, MetricFlag
from mibench.api.quantity import Quantity
from mibench.api.specs import MetricSpec
from mibench.base.scalars import finite
from mibench.leaderboard.finding import Finding, Problem, differs
from mibench.leaderboard.number_rules import average_fits
from mibench.nodes.node import Node
from mibench.plan.cells import Cell
from mibench.plan.resolve import Resolved
from mibench.results.columns import quantity
from mibench.results.record import MetricValue, Record

RULE = "MB614"


class Announced(NamedTuple):
    """A column of a record that a metric announces.

    Attributes:
        column: what is announced of it, under its own name.
        quantity: what its number is.
        metric: the metric.
        spec: the metric's spec.
    """

    column: Column
    quantity: Quantity
    metric: Resolved
    spec: MetricSpec


def announced(metrics: Iterable[Resolved], cell: Cell) -> dict[str, Announced]:
    """Return the columns that metrics announce for a cell, by name."""
    evaluators = list(cell.graph.fixed.evaluators)
    return {
        found.column.name: Announced(found.column, found.quantity, metric, spec)
        for metric, spec in _specs(metrics)
        for column in spec.columns
        for found in column.expand(metric.params, evaluators)
    }


def announced_flags(cell: Cell) -> list[MetricFlag]:
    """Return the flags that the metrics of a cell announce."""
    return [flag for _, spec in _specs(cell.graph.fixed.metrics) for flag in spec.flags]


def check_columns(record: Record, cell: Cell, left: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong about the columns of a record.

    They may be missing or unknown, of another unit, direction, range or meaning, or lack a flag of their own numbers.

    Args:
        record: the record.
        cell: its cell, planned again.
        left: roles of metrics that are not compared.
    """
    controls = {str(name): metrics for name, metrics in record.controls.items()}
    places: list[tuple[str, Mapping[str, MetricValue], Mapping[str, Node]]] = [
        ("metrics", record.metrics, cell.measures),
        *((f"controls.{name}", controls.get(name, {}), nodes) for name, nodes in cell.controls.items()),
    ]
    found: list[Finding] = []
    for place, metrics, nodes in places:
        made = [metric for metric in cell.graph.fixed.metrics if metric.name in nodes]
        told = [metric for metric, spec in _specs(made) if spec.columns and f"metric:{metric.name}" not in left]
        known = announced(told, cell)
        found += [
            Finding(RULE, problem) for problem in _present(place, metrics, known, complete=len(told) == len(made))
        ]
        for name, one in known.items():
            if name in metrics:
                found += [Finding(RULE, problem) for problem in _sound(f"{place}.{name}", name, metrics[name], one)]
        found += [Finding(RULE, problem) for problem in _same_images(place, metrics, known)]
    return found


def _specs(metrics: Iterable[Resolved]) -> Iterator[tuple[Resolved, MetricSpec]]:
    for metric in metrics:
        if isinstance(metric.registered.spec, MetricSpec):
            yield metric, metric.registered.spec


def _present(
    place: str, metrics: Mapping[str, MetricValue], known: Mapping[str, Announced], *, complete: bool
) -> Iterator[Problem]:
    for name, one in known.items():
        if name not in metrics and not one.column.optional:
            yield differs(f"{place}.{name}", f"what the metric {one.metric.name!r} measured", "nothing")
    for name in metrics if complete else ():
        if name not in known:
            yield differs(f"{place}.{name}", "a column that a metric of the protocol reports", "another")


def _sound(field: str, name: str, value: MetricValue, one: Announced) -> Iterator[Problem]:
    column = one.column
    stated = (("unit", column.unit), ("higher_is_better", column.higher_is_better), ("group", one.spec.group))
    for attribute, wanted in stated:
        if getattr(value, attribute) != wanted:
            yield differs(f"{field}.{attribute}", wanted, getattr(value, attribute))
    if value.quantity != beyond_name(name, one.quantity):
        yield differs(f"{field}.quantity", one.quantity.stated(), quantity(name, value).stated())
    yield from _within(field, value, column)
    for flag in one.spec.flags:
        yield from _flagged(field, value, flag)


def _within(field: str, value: MetricValue, column: Column) -> Iterator[Problem]:
    """Yield what is wrong about a value and its classes: their range, and how one follows from the others."""
    present = [each for each in value.per_class if each is not None]
    slack = 1e-6
    low = -math.inf if column.low is None else column.low - slack
    high = math.inf if column.high is None else column.high + slack
    outside = [each for each in (value.value, *present) if not low <= each <= high]
    if outside:
        yield differs(field, f"values from {column.low} to {column.high}", outside[0])
    if column.average:
        yield from average_fits(field, value)
    elif present and not min(present) - slack <= value.value <= max(present) + slack:
        yield differs(f"{field}.value", f"{min(present)} to {max(present)}, as of its classes", value.value)


def _flagged(field: str, value: MetricValue, flag: MetricFlag) -> Iterator[Problem]:
    """Yield what is wrong if a flag is raised and its number says otherwise, or the other way round."""
    number = value.details.get(flag.detail)
    stated = value.details.get("flags")
    raised = isinstance(stated, list) and flag.id in stated
    if number is True or (finite(number) or 0.0) > flag.above:
        if not raised:
            yield differs(f"{field}.details.flags", f"{flag.id!r}, for {flag.detail} is {number}", stated)
    elif raised:
        yield differs(f"{field}.details.flags", f"no {flag.id!r}, for {flag.detail} is {number}", stated)


def _same_images(place: str, metrics: Mapping[str, MetricValue], known: Mapping[str, Announced]) -> Iterator[Problem]:
    for images in ("heldout", "delivered"):
        counts = {
            name: metrics[name].n for name, one in known.items() if one.column.images == images and name in metrics
        }
        numbers = list(counts.values())
        usual = max(numbers, key=numbers.count, default=0)
        for name, number in counts.items():
            if number != usual:
                yield differs(f"{place}.{name}.n", f"{usual} images as in its neighbours", number)
