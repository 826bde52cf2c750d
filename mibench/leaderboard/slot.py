"""Which place of a board a record takes, and how two records of one place differ."""

from __future__ import annotations

from collections.abc import Mapping

from mibench.leaderboard.variants import attack_digest, component_digest
from mibench.results.record import MetricValue, Record


def slot(record: Record) -> str:
    """What a board has room for once: a second run of it is a repetition, however its key came about."""
    cell = record.cell
    digests = (component_digest(record, "model"), component_digest(record, "defense"), attack_digest(record))
    return "/".join((cell.model, *digests, str(cell.seed)))


def differences(old: Record, new: Record) -> list[str]:
    """Return which numbers of two records differ, in words; nothing if they agree."""
    before, after = _numbers(old), _numbers(new)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {before.get(name)} there, {after.get(name)} here" for name in names]


def _numbers(record: Record) -> dict[str, float]:
    parts: dict[str, Mapping[str, MetricValue]] = {"": record.metrics}
    parts.update({f"{name}: ": metrics for name, metrics in record.controls.items()})
    return {f"{prefix}{name}": metric.value for prefix, metrics in parts.items() for name, metric in metrics.items()}
