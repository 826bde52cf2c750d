"""Records and plans as tables. Reads what is there; computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from mibench.cli.gaps import gap_lines
from mibench.cli.terminal import duration
from mibench.results.columns import attack_accuracies, clean_accuracy, quantity, robust_columns
from mibench.results.differing_params import defense_names
from mibench.results.display import DASH, printable, short, with_interval
from mibench.results.record import Control, MetricValue, Record
from mibench.results.words import chance, in_words

if TYPE_CHECKING:
    from mibench.plan.plan import Plan

ATTACK_ACCURACY = "attack acc@1"
Lookup = Callable[[Record], MetricValue | None]


@dataclass(frozen=True)
class Column:
    """A column of the result table.

    Attributes:
        group: what stands above it; columns of one group stand side by side.
        title: its own title.
        find: the number in a record.
        interval: whether the interval is shown.
    """

    group: str
    title: str
    find: Lookup
    interval: bool = False


@dataclass(frozen=True)
class ResultTable:
    """The cells that share a protocol, model and attack.

    Attributes:
        title: protocol, model and attack.
        groups: line above the titles, one entry per column.
        titles: column titles.
        rows: one row per cell.
        foot: controls and sizes.
        gaps: what each defense changes against plain training.
    """

    title: str
    groups: list[str]
    titles: list[str]
    rows: list[list[str]]
    foot: str
    gaps: tuple[str, ...] = ()


TWO_CORES = "two CPU cores"
"""What estimates are of unless a protocol says otherwise."""


def result_tables(records: Sequence[Record]) -> Iterator[ResultTable]:
    """Yield one table per (protocol, model, attack), in the order of the records."""
    ordered = sorted(records, key=lambda record: [str(part) for part in _block(record)])
    for _, block in groupby(ordered, key=_block):
        yield _table(list(block))


def _block(record: Record) -> tuple[str, ...]:
    protocol = record.protocol
    return (protocol.name, protocol.version, protocol.variant, record.cell.model, record.cell.attack_label)


def _table(records: list[Record]) -> ResultTable:
    name, version, variant, model, attack = _block(records[0])
    marked = "" if variant == "test" else f" ({variant}: not for publication)"
    columns = list(_columns(records))
    seeds = sorted({record.cell.seed for record in records})
    rows = []
    named = zip(defense_names(records), records, strict=True)
    for defense, record in sorted(named, key=lambda one: one[1].cell.seed):
        label = printable(defense) + (f" · seed {record.cell.seed}" if len(seeds) > 1 else "")
        if record.status == "failed":
            failure = record.failure
            rows.append([label, f"failed: {failure.stage}: {failure.error}" if failure else "failed"])
        else:
            rows.append([label, *(_text(column, record) for column in columns)])
    groups = [column.group for column in columns]
    shown = [group if at == 0 or groups[at - 1] != group else "" for at, group in enumerate(groups)]
    title = f"{name}@{version}{marked} · {model} · {attack}"
    titles, gaps = ["", *(column.title for column in columns)], tuple(gap_lines(records))
    return ResultTable(title, ["", *shown], titles, rows, _foot(records, seeds), gaps)


def _columns(records: Sequence[Record]) -> Iterator[Column]:
    done = [record for record in records if record.status == "done"]
    headline = records[0].protocol.headline
    judges = sorted({judge for record in done for judge in attack_accuracies(record.metrics)})
    radii = sorted({radius for record in done for radius in robust_columns(record.metrics)}, key=float)
    first = next((r.metrics[headline] for r in done if headline in r.metrics), None)
    lead = quantity(headline, first)
    unit = f" ({first.unit})" if first and first.unit != "fraction" else ""
    title = "re-identified" if lead.role == "re_identification" and lead.k == 1 else f"{headline}{unit}"
    above = "leakage ↑" if first and first.higher_is_better else "leakage ↓"
    yield Column(above, title, lambda r: r.metrics.get(headline), interval=True)
    if lead.role != "attack_accuracy":
        for judge in judges:
            title = f"{ATTACK_ACCURACY} {judge}".strip()
            yield Column("leakage ↓", title, _attack_accuracy(judge), interval=True)
    yield Column("accuracy ↑", "top-1", lambda r: clean_accuracy(r.metrics), interval=True)
    for radius in radii:
        yield Column("robust accuracy ↑ (ε × 255)", radius, _robust_accuracy(radius))


def _attack_accuracy(judge: str) -> Lookup:
    return lambda record: attack_accuracies(record.metrics).get(judge)


def _robust_accuracy(radius: str) -> Lookup:
    return lambda record: robust_columns(record.metrics).get(radius)


def _text(column: Column, record: Record) -> str:
    found = column.find(record)
    if found is None:
        return DASH
    return with_interval(found.value, found.ci95) if column.interval else short(found.value)


def _foot(records: Sequence[Record], seeds: Sequence[int]) -> str:
    done = [record for record in records if record.status == "done"]
    if not done:
        return ""
    first, headline = done[0], done[0].protocol.headline
    leakage = first.metrics.get(headline)
    blind = chance(leakage.unit, leakage.details) if leakage else None
    parts = [] if blind is None else [f"chance {short(blind)}"]
    further: tuple[Control, ...] = ("lookalike",) if "lookalike" in first.controls else ()
    for control in ("floor", *further, "gold"):
        measured = first.controls.get(control, {}).get(headline)
        parts.append(f"{control} {short(measured.value if measured else None)}")
    plain = first.controls.get("undefended", {}).get(headline)
    if plain and (words := in_words(plain.value, plain.unit, plain.details)):
        parts.append(f"undefended {words}")
    sizes = [f"{_classes(first)} classes"] if first.classes else []
    sizes += [f"{leakage.n} reconstructions"] if leakage else []
    sizes.append(f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
    return "   ".join([*parts, ", ".join(sizes)])


def _classes(record: Record) -> str:
    whole = str(len(record.classes))
    return whole if record.attacked is None else f"{len(record.attacked)} of {whole}"


def flag_lines(records: Sequence[Record]) -> list[str]:
    """Return one line per flag, with the cells that it was raised for."""
    raised: dict[tuple[str, str], list[str]] = {}
    for record in records:
        cell = record.cell
        for flag in record.flags:
            label = f"{cell.defense} × {cell.attack_label} · {cell.model} · seed {cell.seed}"
            raised.setdefault((flag.id, flag.text), []).append(label)
    return [f"{name}: {text} ({'; '.join(cells)})" for (name, text), cells in raised.items()]


def plan_summary(plan: Plan) -> str:
    """Return ``6 stages: 3 reused, 3 to run, about 2 min``."""
    todo = [node for node in plan.nodes if not node.reused]
    known = [node.estimate_s for node in todo if node.estimate_s is not None]
    text = f"{len(plan.nodes)} stages: {len(plan.nodes) - len(todo)} reused, {len(todo)} to run"
    if not todo:
        return text
    if not known:
        return f"{text}, time unknown"
    other = f" on {' or '.join(plan.machines)}" if set(plan.machines) - {TWO_CORES} else ""
    return f"{text}, {'about' if len(known) == len(todo) else 'at least'} {duration(sum(known))}{other}"


def plan_rows(plan: Plan) -> list[list[str]]:
    """Return a row per stage: what it is, whether it runs, why, and how long that takes."""
    return [
        [
            node.stage,
            node.label,
            "reuse" if node.reused else "run",
            duration(node.estimate_s),
            node.key[:12],
            node.reason,
        ]
        for node in plan.nodes
    ]
