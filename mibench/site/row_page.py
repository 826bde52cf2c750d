"""What the page of a row says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mibench.exchange.cite import cite_row
from mibench.leaderboard.estimates import estimate, worst_attack_accuracy
from mibench.leaderboard.variants import by_attack
from mibench.results.display import flatten, printable, short
from mibench.results.io import file_name
from mibench.results.normalize import headline
from mibench.results.record import ComponentRef, Record
from mibench.results.words import in_words
from mibench.site.columns import Column, Shown, estimate_cell, number_cell
from mibench.site.curves import Curve, People, identification, people, robustness
from mibench.site.entry import BoardPages, Entry
from mibench.site.library import Library, Method, methods

CONTROLS = ("undefended", "floor", "lookalike", "gold")


@dataclass(frozen=True)
class AttackLine:
    """One attack on the row."""

    name: str
    access: str
    leakage: Shown
    attack_accuracy: Shown
    seeds: str
    best: str
    worst: bool


@dataclass(frozen=True)
class RecordLine:
    """One record of the row."""

    attack: str
    seed: int
    leakage: Shown
    queries: str
    active: str
    digest: str
    file: str
    command: str


@dataclass(frozen=True)
class Part:
    """A component that took part."""

    role: str
    name: str
    distribution: str
    params: str
    licence: str
    source: str


@dataclass(frozen=True)
class RowPage:
    """All that the page of a row says beside the row itself.

    Attributes:
        entry: the row.
        facts: its columns.
        words: what its leakage means, for readers who do not know the unit.
        controls: names and values.
        attacks: what each attack reached.
        records: what it was made of.
        parts: components that took part.
        methods: what is known of its defense, or of each of several.
        others: what is known of the other components, where they have a paper.
        curves: drawings.
        people: each person's values; ``None`` without any.
        bibtex: how to cite the row.
        environment: what the records were computed with.
    """

    entry: Entry
    facts: list[tuple[Column, Shown]]
    words: str
    controls: list[tuple[str, str]]
    attacks: list[AttackLine]
    records: list[RecordLine]
    parts: list[Part]
    methods: list[Method]
    others: list[Method]
    curves: list[Curve]
    people: People | None
    bibtex: str
    environment: str


def row_page(board: BoardPages, entry: Entry, columns: Sequence[Column], library: Library, url: str) -> RowPage:
    """Return what the page of a row says.

    Args:
        board: its board.
        entry: the row.
        columns: the board's.
        library: what installed plugins say about components.
        url: address of the site; empty if it is not known.
    """
    row = entry.row
    groups = by_attack(row.records)
    worst = groups.get(row.worst_attack) or row.records
    plain = next((other.row for other in board.entries
                  if (other.row.defense, other.row.model) == (board.section.undefended, row.model)), None)  # fmt: skip
    page = f"{url}{board.address}/rows/{entry.slug}.html" if url else ""
    lead = headline(worst[0])
    return RowPage(
        entry=entry,
        facts=[(column, column.cell(entry)) for column in columns],
        words=in_words(row.leakage.value, row.unit, lead.details) if lead else "",
        controls=[(name, short(value)) for name in CONTROLS if (value := getattr(row, name)) is not None],
        attacks=[_attack(entry, name, records) for name, records in groups.items()],
        records=[_record(record) for record in row.records],
        parts=_parts(row.records),
        methods=methods(library, "defense", row.defense),
        others=_others(row.records, library),
        curves=[curve for curve in (identification(row, worst), robustness(row, plain)) if curve],
        people=people(row, worst),
        bibtex=cite_row(row, board.section.digest, entry.slug, page),
        environment=_environment(row.records),
    )


def _attack(entry: Entry, name: str, records: Sequence[Record]) -> AttackLine:
    part = records[0].components.get("attack")
    share = entry.row.maximum.best.get(name) if entry.row.maximum else None
    return AttackLine(
        name=printable(name),
        access="control" if part and part.baseline else printable((part.access if part else None) or "unstated"),
        leakage=estimate_cell(estimate(records, headline)),
        attack_accuracy=estimate_cell(worst_attack_accuracy([records])),
        seeds=", ".join(str(seed) for seed in sorted({record.cell.seed for record in records})),
        best=f"{share:.0%}" if share is not None else "",
        worst=name == entry.row.worst_attack,
    )


def _record(record: Record) -> RecordLine:
    lead, total, number = headline(record), record.ledger.total, max(1, record.attacked_classes)
    spent = ""
    if total:
        spent = f"{total.forward / number:,.0f} / {total.backward / number:,.0f}".replace(",", " ")
    active = {True: "active", False: "inactive", None: "unstated"}[record.self_check.active]
    return RecordLine(
        attack=printable(record.cell.attack_label),
        seed=record.cell.seed,
        leakage=number_cell(lead.value, lead.ci95) if lead else Shown("–"),
        queries=spent,
        active=f"{active}: {printable(record.self_check.reason, 300)}" if record.self_check.reason else active,
        digest=printable(record.digest[:12]),
        file=f"entries/{printable(record.cell.defense)}/{file_name(record)}",
        command=printable(record.command, 2000),
    )


def _parts(records: Sequence[Record]) -> list[Part]:
    """Return every component once for each role and setting that it had."""
    found = dict.fromkeys(_part(role, part) for record in records for role, part in record.components.items())
    return list(found)


def _others(records: Sequence[Record], library: Library) -> list[Method]:
    """Return what is known of all components but the defense that have a paper, each once."""
    used = dict.fromkeys(
        (part.kind, part.name) for record in records for part in record.components.values() if part.kind != "defense"
    )
    return [library[key] for key in used if key in library and library[key].paper]


def _part(role: str, part: ComponentRef) -> Part:
    preset = f", preset {part.preset}" if part.preset else ""
    return Part(
        role=printable(role),
        name=printable(f"{part.name} v{part.version}{preset}" + (" (settings changed)" if part.overridden else "")),
        distribution=printable(f"{part.distribution} {part.distribution_version}"),
        params=printable(", ".join(f"{key}={value}" for key, value in flatten(part.params)), 1000),
        licence=printable(part.licence),
        source=printable(part.source_digest[:12]),
    )


def _environment(records: Sequence[Record]) -> str:
    found = dict.fromkeys(
        printable(f"{env.device} · {env.platform} · Python {env.python} · {_packages(record)}", 600)
        for record in records
        if (env := record.environment)
    )
    return "; or ".join(list(found)[:3])


def _packages(record: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in record.environment.packages.items())
