"""Every person's values of every cell as one table, so that anybody can run tests of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mibench.base.csv_text import csv_text
from mibench.leaderboard.render import csv_cell
from mibench.leaderboard.variants import component_digest
from mibench.results.record import MetricValue, Record

HEAD = (
    "protocol",
    "model",
    "defense",
    "defense_version",
    "params_digest",
    "attack",
    "attack_access",
    "attack_digest",
    "seed",
    "record_digest",
    "person",
)


def cells_csv(records: Sequence[Record]) -> str:
    """Return one line for each person of each record: leakage metrics, and those of the controls as ``gold:NAME``.

    ``person`` is the identity in the data set, which is the same in all seeds and folds; pair by it. A value that was
    not measured is empty. Target metrics (accuracy, robust accuracy) are of the person's held-out images.
    """
    columns = list(dict.fromkeys(name for record in records for name, _ in _columns(record)))
    return csv_text([*HEAD, *map(csv_cell, columns)], _lines(records, columns))


def _lines(records: Sequence[Record], columns: Sequence[str]) -> Iterator[list[object]]:
    for record in records:
        head = [csv_cell(value) for value in _head(record)]
        found = {name: metric.per_class for name, metric in _columns(record)}
        for label in range(len(record.classes)):
            values = [found[name][label] if label < len(found.get(name, ())) else None for name in columns]
            yield [*head, record.classes.get(str(label), ""), *map(csv_cell, values)]


def _head(record: Record) -> Iterable[str]:
    cell, parts = record.cell, record.components
    defense, attack = parts.get("defense"), parts.get("attack")
    return (
        f"{record.protocol.name}@{record.protocol.version}",
        cell.model,
        cell.defense,
        defense.version if defense else "",
        component_digest(record, "defense"),
        cell.attack_label,
        (attack.access if attack else None) or "",
        component_digest(record, "attack"),
        str(cell.seed),
        record.digest,
    )


def _columns(record: Record) -> Iterator[tuple[str, MetricValue]]:
    for name, metric in record.metrics.items():
        if any(value is not None for value in metric.per_class):
            yield name, metric
    for which, metrics in record.controls.items():
        if lead := metrics.get(record.protocol.headline):
            yield f"{which}:{record.protocol.headline}", lead
