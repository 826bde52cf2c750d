"""Defenses by attacks: what was measured, and for what was not, the command that measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mibench.leaderboard.estimates import estimate
from mibench.leaderboard.met import completing_command
from mibench.leaderboard.variants import by_attack
from mibench.results.display import printable
from mibench.results.normalize import headline
from mibench.results.record import Record
from mibench.site.columns import Shown, estimate_cell
from mibench.site.entry import BoardPages, Entry


@dataclass(frozen=True)
class Met:
    """A cell of the matrix.

    Attributes:
        shown: leakage under this attack; ``None`` if nobody ran it.
        share: where that lies between the least (0) and the most (1) of the matrix, for the colour.
        seeds: seeds that were run, where some are missing.
        command: what runs the rest; empty if nothing is missing.
        worst: whether it is the row's worst attack.
    """

    shown: Shown | None
    share: float
    seeds: str
    command: str
    worst: bool


@dataclass(frozen=True)
class Head:
    """The heading of a column: attack, what it uses of the target, whether the protocol requires it."""

    name: str
    access: str
    required: bool


@dataclass(frozen=True)
class Matrix:
    """All rows by all attacks of a board."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Entry, tuple[Met, ...]], ...]


def matrix(board: BoardPages) -> Matrix:
    """Return defenses by attacks, those that the protocol requires first, then those that were run most often."""
    met = [(entry, by_attack(entry.row.records)) for entry in board.entries]
    heads = _heads(board, [found for _, found in met])
    values = [entry.row.leakage.value for entry in board.entries]
    low, high = min(values, default=0.0), max(values, default=1.0)
    rows = []
    for entry, found in met:
        cells = tuple(_cell(board, entry, head.name, found.get(head.name, ()), (low, high)) for head in heads)
        rows.append((entry, cells))
    return Matrix(heads, tuple(rows))


def _heads(board: BoardPages, met: Sequence[Mapping[str, Sequence[Record]]]) -> tuple[Head, ...]:
    accesses: dict[str, str] = {}
    counts: dict[str, int] = {}
    for found in met:
        for name, records in found.items():
            counts[name] = counts.get(name, 0) + 1
            part = records[0].components.get("attack")
            accesses[name] = "control" if part and part.baseline else (part.access if part else None) or "unstated"
    suite = board.section.suite
    names = sorted({*counts, *suite}, key=lambda name: (name not in suite, accesses.get(name) == "control",
                                                        -counts.get(name, 0), name))  # fmt: skip
    return tuple(Head(name, printable(accesses.get(name, "unstated")), name in suite) for name in names)


def _cell(board: BoardPages, entry: Entry, attack: str, records: Sequence[Record], ends: tuple[float, float]) -> Met:
    made = estimate(records, headline) if records else None
    run = {record.cell.seed for record in records}
    missing = tuple(seed for seed in board.section.seeds if seed not in run)
    first = entry.row.records[0]
    typed = records[0].cell.attack_label if records else attack
    low, high = ends
    return Met(
        shown=estimate_cell(made) if made else None,
        share=0.0 if made is None or high <= low else min(1.0, max(0.0, (made.value - low) / (high - low))),
        seeds=", ".join(map(str, sorted(run))) if missing and records else "",
        command=printable(completing_command(first, {typed: missing}), 2000) if missing else "",
        worst=attack == entry.row.worst_attack,
    )
