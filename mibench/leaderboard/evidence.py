"""Which of a row's numbers follow from the values of its classes, and which have to be believed as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mibench.results.averages import average_of
from mibench.results.columns import attack_accuracies, clean_accuracy, robust_columns
from mibench.results.normalize import control, headline
from mibench.results.record import MetricValue, Record

RECOMPUTED, BELIEVED = "recomputed", "believed"


def reported(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the columns among those that a board shows whose values do not follow from the record's per-class values.

    Either there are no such values, or classes have unequal numbers of images which the record does not state.
    Per-class values themselves, self-checks and query counts are as reported: only the evidence could show more.
    """
    return tuple(sorted({name for record in records for name, metric in _shown(record) if not _follows(metric)}))


def _shown(record: Record) -> Iterator[tuple[str, MetricValue]]:
    lead = [headline(record), *(control(record, name) for name in ("gold", "floor", "undefended", "lookalike"))]
    yield from ((record.protocol.headline, metric) for metric in lead if metric)
    if accuracy := clean_accuracy(record.metrics):
        yield "accuracy", accuracy
    yield from (("attack accuracy", metric) for metric in attack_accuracies(record.metrics).values())
    yield from (("robust accuracy", metric) for metric in robust_columns(record.metrics).values())


def _follows(metric: MetricValue) -> bool:
    made = average_of(metric)
    return made is not None and made.exact and abs(made.low - metric.value) <= 1e-9 * max(1.0, abs(metric.value))
