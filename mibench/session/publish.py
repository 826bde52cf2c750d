"""From a finished run to a leaderboard, and why a board would refuse a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.assemble.recheck import Recheck
from mibench.leaderboard import add_records
from mibench.leaderboard.rules import check_record
from mibench.plan.cells import Cell
from mibench.plan.plan import Plan
from mibench.registry.registry import Registry
from mibench.results.record import Record


def require_boards(plan: Plan) -> None:
    """Refuse to publish what no board accepts, before hours of work.

    Raises:
        UsageError: if the protocol of a cell is an experiment.
    """
    for cell in plan.cells:
        if reason := _from_a_file(cell):
            raise UsageError(f"--publish: {reason}")


def refusal(record: Record, cell: Cell) -> str:
    """Return the first reason for which no board accepts a record that a run just made; empty if there is none."""
    if reason := _from_a_file(cell):
        return f"MB300 {reason}"
    return next((f"{found.id} {found.text}" for found in check_record(record, cell.loaded)), "")


def _from_a_file(cell: Cell) -> str:
    """Say that a cell's protocol is an experiment that no board accepts; empty if it is an installed one."""
    if cell.loaded.requested == cell.loaded.protocol.id:
        return ""
    return f"{cell.loaded.requested} is a file; boards take the protocols of installed plugins"


def publish(
    folder: Path, plan: Plan, registry: Registry, records: Sequence[Record], paths: Sequence[Path]
) -> list[Path]:
    """Put the finished records of a run on their boards, all or none, and return the entries.

    Args:
        folder: the leaderboards folder.
        plan: what was run.
        registry: where components are found.
        records: one for each cell of the plan.
        paths: the file of each record.

    Raises:
        RefusedError: if a record breaks a rule.
    """
    done = [path for path, record in zip(paths, records, strict=True) if record.status == "done"]
    texts = {cell.loaded.protocol.id: cell.loaded.text for cell in plan.cells}
    recheck = Recheck.beside(registry, plan.store.root)
    published = add_records(done, folder, texts, recheck.findings)
    recheck.save()
    return published
