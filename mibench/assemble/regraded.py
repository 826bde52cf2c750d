"""The record of a cell whose evidence was measured again: its numbers are new, what was not measured stays."""

from __future__ import annotations

from mibench.assemble.columns import announced, announced_flags
from mibench.assemble.environment import joined
from mibench.assemble.records import cell_ref, components, nodes_of, protocol_ref, read_metrics, reproduce, timings_of
from mibench.plan.cells import Cell
from mibench.registry.registry import Registry
from mibench.results.flags import compute_flags
from mibench.results.io import seal
from mibench.results.normalize import record_leakage
from mibench.results.record import Record
from mibench.store.store import Store

MEASURING = ("metric:", "embedder")
"""Beginnings of the roles of components whose installed version counts."""


def regraded_record(published: Record, cell: Cell, store: Store, registry: Registry) -> Record:
    """Return a record with the numbers of new measurements.

    Args:
        published: the record that was measured again.
        cell: its cell, planned with the installed metrics.
        store: what holds the evidence and the new measurements.
        registry: where components are found.

    Raises:
        StoreError: if a measurement is missing.
        MibenchError: if two metrics measure the same.
    """
    meant = {name: one.quantity for name, one in announced(cell.graph.fixed.metrics, cell).items()}
    here = {role: part for role, part in components(cell, registry).items() if role.startswith(MEASURING)}
    kept = {role: part for role, part in published.components.items() if not role.startswith(MEASURING)}
    found = {role: store.find(node.stage, node.key) for role, node in nodes_of(cell).items()}
    made = {role: artifact for role, artifact in found.items() if artifact is not None}
    record = published.model_copy(
        update={
            "protocol": protocol_ref(cell),
            "cell": cell_ref(cell),
            "components": {**kept, **here},
            "inputs": {role: made[role].content if role in made else said for role, said in published.inputs.items()},
            "metrics": read_metrics(store, cell.measures, meant),
            "controls": {name: read_metrics(store, nodes, meant) for name, nodes in cell.controls.items()},
            "environment": joined({role: artifact.meta for role, artifact in made.items()}),
            "command": reproduce(cell) if cell.loaded.digest != published.protocol.digest else published.command,
            "timings": timings_of(cell, store),
        }
    )
    flags = compute_flags(record.model_copy(update={"flags": []}), announced_flags(cell))
    return seal(record.model_copy(update={"normalized_leakage": record_leakage(record), "flags": flags}))
