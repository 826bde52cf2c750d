"""What became of each cell of a run: its record, of a failure if need be, and its pictures."""

from __future__ import annotations

import logging

from mibench.assemble.galleries import make_gallery
from mibench.assemble.records import failed_record, make_record
from mibench.execute.contract import NodeOutcomes
from mibench.execute.explain import explain
from mibench.plan.cells import Cell
from mibench.plan.plan import Plan
from mibench.registry.registry import Registry
from mibench.report import Gallery
from mibench.results.record import Record
from mibench.store.store import Store

RECORD = "record"
"""Stage of a failure that came after all stages: the artifacts make no record."""

_log = logging.getLogger(__name__)


def cell_record(cell: Cell, plan: Plan, outcome: NodeOutcomes, registry: Registry, device: str) -> Record:
    """Return the record of a cell; if one of its stages failed, or its numbers make none, that of a failure.

    Args:
        cell: the cell.
        plan: what it was planned in.
        outcome: what became of the nodes that had to run.
        registry: where components are found.
        device: what the request asked for, which the record of a failure describes.
    """
    labels = {planned.key: planned.label for planned in plan.nodes}
    groups = (cell.inputs, cell.measures, *cell.controls.values())
    for node in (node for group in groups for node in group.values()):
        root = outcome.skipped.get(node.key, node.key)
        if root in outcome.failed:
            return failed_record(cell, registry, labels[root], outcome.failed[root], device=device)
    try:
        return make_record(cell, plan.store, registry)
    except Exception as error:  # one cell whose numbers make no record must not cost the others theirs
        return failed_record(cell, registry, RECORD, explain(error), device=device)


def cell_gallery(cell: Cell, record: Record, store: Store) -> Gallery:
    """Collect the pictures of a cell; a cell whose metric says odd things about them has none."""
    try:
        return make_gallery(cell, record, store)
    except Exception as error:
        _log.warning("the report has no pictures of %s: %s", cell.label, explain(error))
        return Gallery(cell.label, [])
