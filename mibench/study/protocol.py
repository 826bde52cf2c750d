"""The protocol of a study: an installed one, or the same with metrics beside its own, as a file of an experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.api.study import ExtraMetric
from mibench.base.files import write_atomic
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.strict_yaml import parse_yaml

FILE = "protocol.yaml"


def with_metrics(loaded: LoadedProtocol, metrics: Sequence[ExtraMetric]) -> str:
    """Return the text of a protocol with more metrics; one of the same name is replaced.

    Raises:
        UsageError: if the metric that a board ranks by would be another one.
    """
    raw = parse_yaml(loaded.text, loaded.requested)
    extra = {metric.name: {"name": metric.name, "params": dict(metric.params)} for metric in metrics}
    kept = [metric for metric in raw["metrics"] if metric["name"] not in extra]
    raw["metrics"] = [*kept, *extra.values()]
    if not kept:
        raise UsageError(f"{loaded.id}: a study may add metrics to those of a protocol, not replace all of them")
    return json.dumps(raw, indent=1) + "\n"  # JSON is YAML


def write_protocol(loaded: LoadedProtocol, metrics: Sequence[ExtraMetric], folder: Path) -> str:
    """Return how to ask for the protocol of a study; one with more metrics is written as a file first."""
    if not metrics:
        return loaded.requested
    return str(write_atomic(folder / FILE, with_metrics(loaded, metrics)))
