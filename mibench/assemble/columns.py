"""The columns of a record against those that its metrics announce."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from mibench.api.specs import Column, MetricSpec
from mibench.leaderboard.finding import Finding, differs
from mibench.leaderboard.number_rules import average_fits
from mibench.nodes.node import Node
from mibench.plan.cells import Cell
from mibench.plan.resolve import Resolved
from mibench.results.record import MetricValue, Record

RULE = "MB614"


def check_columns(record: Record, cell: Cell, left: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong about the columns of a record: missing, unknown, of another unit, direction or range.

    Args:
        record: the record.
        cell: its cell, planned again.
        left: roles of metrics that are not compared.
    """
    controls = {str(name): metrics for name, metrics in record.controls.items()}
    places: list[tuple[str, Mapping[str, MetricValue], Mapping[str, Node]]] = [
        ("metrics", record.metrics, cell.measures),
        *(
            (f"controls.{name}", controls.get(name, {}), getattr(cell, name))
            for name in ("gold", "floor", "undefended")
        ),
    ]
    found: list[Finding] = []
    for place, metrics, nodes in places:
        made = [metric for metric in cell.graph.fixed.metrics if metric.name in nodes]
        told = [metric for metric in made if _columns_of(metric) and f"metric:{metric.name}" not in left]
        known = {column.name: (column, metric) for metric in told for column in _expanded(metric, cell)}
        found += [Finding(RULE, text) for text in _present(place, metrics, known, complete=len(told) == len(made))]
        for name, (column, metric) in known.items():
            if name in metrics:
                found += [Finding(RULE, text) for text in _sound(f"{place}.{name}", metrics[name], column, metric)]
        found += [Finding(RULE, text) for text in _same_images(place, metrics, known)]
    return found


def _columns_of(metric: Resolved) -> tuple[Column, ...]:
    spec = metric.registered.spec
    return spec.columns if isinstance(spec, MetricSpec) else ()


def _expanded(metric: Resolved, cell: Cell) -> Iterator[Column]:
    """Yield the columns of a metric with the names of evaluators and the values of parameters filled in."""
    for column in _columns_of(metric):
        judges = cell.graph.fixed.evaluators if "{evaluator}" in column.name else ("",)
        values = metric.params[column.each] if column.each else (0.0,)
        for judge in judges:
            for value in values:
                name = column.name.replace("{evaluator}", judge).replace("{each}", f"{value * column.scale:.4g}")
                yield replace(column, name=name)


def _present(
    place: str, metrics: Mapping[str, MetricValue], known: Mapping[str, tuple[Column, Resolved]], *, complete: bool
) -> Iterator[str]:
    for name, (column, metric) in known.items():
        if name not in metrics and not column.optional:
            yield differs(f"{place}.{name}", f"what the metric {metric.name!r} measured", "nothing")
    for name in metrics if complete else ():
        if name not in known:
            yield differs(f"{place}.{name}", "a column that a metric of the protocol reports", "another")


def _sound(field: str, value: MetricValue, column: Column, metric: Resolved) -> Iterator[str]:
    group = getattr(metric.registered.spec, "group", value.group)
    for name, wanted in (("unit", column.unit), ("higher_is_better", column.higher_is_better), ("group", group)):
        if getattr(value, name) != wanted:
            yield differs(f"{field}.{name}", wanted, getattr(value, name))
    present = [one for one in value.per_class if one is not None]
    slack = 1e-6
    low = -math.inf if column.low is None else column.low - slack
    high = math.inf if column.high is None else column.high + slack
    outside = [one for one in (value.value, *present) if not low <= one <= high]
    if outside:
        yield differs(field, f"values from {column.low} to {column.high}", outside[0])
    if column.average:
        yield from average_fits(field, value)
    elif present and not min(present) - slack <= value.value <= max(present) + slack:
        yield differs(f"{field}.value", f"{min(present)} to {max(present)}, as of its classes", value.value)


def _same_images(
    place: str, metrics: Mapping[str, MetricValue], known: Mapping[str, tuple[Column, Resolved]]
) -> Iterator[str]:
    for images in ("heldout", "delivered"):
        counts = {
            name: metrics[name].n for name, (column, _) in known.items() if column.images == images and name in metrics
        }
        numbers = list(counts.values())
        usual = max(numbers, key=numbers.count, default=0)
        for name, number in counts.items():
            if number != usual:
                yield differs(f"{place}.{name}.n", f"{usual} images as in its neighbours", number)
