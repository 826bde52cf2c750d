"""What a report says, as plain strings for its template. No number is computed here that a record does not hold."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mibench.report.chart import Chart, NamedNumber, leakage_chart
from mibench.report.gallery import Gallery, Strip, strips
from mibench.results.columns import attack_accuracies, clean_accuracy, robust_columns
from mibench.results.differences import to_control
from mibench.results.differing_params import defense_names
from mibench.results.display import difference, flatten, printable, short, with_interval
from mibench.results.io import label
from mibench.results.normalize import control, headline
from mibench.results.record import ComponentRef, MetricValue, Record
from mibench.results.words import in_words

CONTROLS = ("undefended", "floor", "lookalike", "gold")
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Summary:
    """The table and the chart of one protocol."""

    title: str
    caption: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    chart: Chart | None


@dataclass(frozen=True)
class CellSection:
    """One cell."""

    title: str
    flags: Pairs
    control_names: list[str]
    controls: list[tuple[str, list[str]]]
    metrics: list[tuple[str, list[str]]]
    chart: Chart | None
    gallery: list[Strip]
    self_check: Pairs
    ledger: Pairs
    provenance: Pairs
    components: list[tuple[str, list[str]]]
    environment: Pairs
    timings: Pairs
    command: str


def summaries(records: Sequence[Record]) -> list[Summary]:
    """Return one summary for each protocol of the finished records."""
    groups: defaultdict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        protocol = record.protocol
        groups[f"{protocol.name}@{protocol.version}", protocol.variant, protocol.digest].append(record)
    return [_summary(identifier, variant, group) for (identifier, variant, _), group in groups.items()]


def section(record: Record, gallery: Gallery | None) -> CellSection:
    """Return what a report says about one finished cell."""
    return CellSection(
        title=label(record),
        flags=[(printable(flag.id), printable(flag.text, 500)) for flag in record.flags],
        control_names=[which for which in CONTROLS if which in record.controls],
        controls=_controls(record),
        metrics=[(name, _metric(metric)) for name, metric in record.metrics.items()],
        chart=_cell_chart(record),
        gallery=strips(gallery) if gallery else [],
        self_check=list(flatten(record.self_check.model_dump())),
        ledger=list(flatten(record.ledger.model_dump())),
        provenance=_provenance(record),
        components=[(role, _component(part)) for role, part in record.components.items()],
        environment=list(flatten(record.environment.model_dump())),
        timings=[(name, f"{seconds:.1f} s") for name, seconds in record.timings.items()],
        command=printable(record.command, 2000),
    )


def _summary(identifier: str, variant: str, records: Sequence[Record]) -> Summary:
    radii = sorted({eps for record in records for eps in robust_columns(record.metrics)}, key=float)
    head = records[0].protocol.headline
    columns = [f"{head} ↓", "minus undefended", "between floor and gold", "attack acc@1 ↓", "accuracy ↑"]
    if lead := headline(records[0]):
        unit = "" if lead.unit == "fraction" else f" ({lead.unit})"
        columns[0] = f"{head}{unit} {'↑' if lead.higher_is_better else '↓'}"
    return Summary(
        title=identifier if variant == "test" else f"{identifier}, {variant} variant: for tuning, not to be published",
        caption=f"Leakage is {head}. Brackets hold 95 % intervals over people, differences are paired by person; "
        "ε is in units of 1/255.",
        columns=[*columns, *(f"robust ε={eps} ↑" for eps in radii), "flags"],
        rows=[(name, _summary_cells(record, radii)) for name, record in zip(_names(records), records, strict=True)],
        chart=_summary_chart(records),
    )


def _summary_cells(record: Record, radii: Sequence[str]) -> list[str]:
    robust, clean = robust_columns(record.metrics), clean_accuracy(record.metrics)
    attacked = max(attack_accuracies(record.metrics).values(), key=lambda metric: metric.value, default=None)
    return [
        _number(headline(record)),
        difference(gap.value, gap.ci95) if (gap := to_control({"": [record]}, "undefended")) else short(None),
        short(record.normalized_leakage),
        _number(attacked),
        _number(clean),
        *(short(robust[eps].value if eps in robust else None) for eps in radii),
        str(len(record.flags)) if record.flags else "",
    ]


def _summary_chart(records: Sequence[Record]) -> Chart | None:
    entries = [
        NamedNumber(name, metric.value, metric.ci95)
        for name, record in zip(_names(records), records, strict=True)
        if (metric := headline(record))
    ]
    return _chart(entries, records)


def _cell_chart(record: Record) -> Chart | None:
    named = ((record.cell.defense, headline(record)), ("undefended", control(record, "undefended")))
    entries = [NamedNumber(name, metric.value, metric.ci95) for name, metric in named if metric]
    return _chart(entries, [record])


def _chart(entries: Sequence[NamedNumber], records: Sequence[Record]) -> Chart | None:
    floor, gold, alike = (_mean_control(records, name) for name in ("floor", "gold", "lookalike"))
    lead = headline(records[0])
    return leakage_chart(entries, floor, gold, alike, fractions=lead is None or lead.unit == "fraction")


def _mean_control(records: Sequence[Record], name: str) -> float | None:
    values = [metric.value for record in records if (metric := control(record, name))]
    return math.fsum(values) / len(values) if values else None


def _controls(record: Record) -> list[tuple[str, list[str]]]:
    """Return leakage beside the controls that the record has, in the order of CONTROLS."""
    known = [values for which in CONTROLS for key, values in record.controls.items() if key == which]
    return [
        (name, [_number(metric), *(_number(values.get(name)) for values in known)])
        for name, metric in record.metrics.items()
        if metric.group == "leakage"
    ]


def _metric(metric: MetricValue) -> list[str]:
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    words = in_words(metric.value, metric.unit, metric.details)
    unit = f"{metric.unit}: {words}" if words else metric.unit
    return [_number(metric), unit, str(metric.n), direction, metric.group]


def _component(part: ComponentRef) -> list[str]:
    preset = f" preset {part.preset}" if part.preset else ""
    params = ", ".join(f"{key}={value}" for key, value in flatten(part.params))
    name = f"{part.name} v{part.version}{preset}" + (" (settings changed)" if part.overridden else "")
    package = f"{part.distribution} {part.distribution_version}"
    return [name, package, printable(params, 1000), part.licence, part.source_digest[:12]]


def _provenance(record: Record) -> Pairs:
    protocol = record.protocol
    pairs = [
        ("protocol", f"{protocol.name}@{protocol.version} ({protocol.variant})"),
        ("protocol digest", protocol.digest),
        ("cell key", record.cell.key),
        ("record digest", record.digest),
        *((f"input: {role}", value) for role, value in record.inputs.items()),
    ]
    return [(name, printable(value)) for name, value in pairs]


def _number(metric: MetricValue | None) -> str:
    return with_interval(metric.value, metric.ci95) if metric else short(None)


def _names(records: Sequence[Record]) -> list[str]:
    named = zip(defense_names(records), (record.cell for record in records), strict=True)
    return [printable(f"{name} × {cell.attack_label} · {cell.model} · {cell.seed}", 80) for name, cell in named]
