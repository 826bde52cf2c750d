"""Measure the evidence of a bundle again, with the metrics that are installed, and say what moved."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mibench.api import params
from mibench.api.errors import MibenchError, UsageError
from mibench.assemble.regraded import regraded_record
from mibench.assemble.replay import planned_cell
from mibench.base.canonical import digest
from mibench.bundles.contents import Contents, read_contents, require_evidence
from mibench.bundles.files import opened
from mibench.bundles.needs import Needs, needs_of
from mibench.bundles.notes import notes_on
from mibench.bundles.workspace import place_in, put
from mibench.execute.contract import Executor, ExecutorContext, NodeOutcomes, cpu_threads
from mibench.nodes.node import Node
from mibench.plan.cells import Cell
from mibench.plan.facts import Facts
from mibench.plan.plan import plan_nodes
from mibench.protocol.load import LoadedProtocol
from mibench.registry.registry import Registry
from mibench.results.io import label
from mibench.results.record import Record
from mibench.results.repeated import Change, changes
from mibench.store.store import Store

METRIC = "metric"


@dataclass(frozen=True)
class Means:
    """What measuring takes.

    Attributes:
        store: where data are found or made, and judges that a bundle does not hold.
        registry: where components are found.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        executor: registered executor.
        workers: worker processes, for executors that have them.
    """

    store: Store
    registry: Registry
    device: str = "auto"
    executor: str = "inline"
    workers: int = 2


@dataclass(frozen=True)
class Regraded:
    """A record that was measured again.

    Attributes:
        published: the record as it came.
        record: the same with new numbers; ``None`` if it could not be measured.
        changes: what became of each column.
        notes: what is not as it was, one sentence each: judges, data, metrics, threads.
        error: why it could not be measured; empty if it was.
    """

    published: Record
    record: Record | None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def held(self) -> bool:
        """Whether every column came out as published."""
        return self.record is not None and all(change.held for change in self.changes)


@dataclass(frozen=True)
class _Cell:
    published: Record
    cell: Cell
    needs: Needs


def regrade(
    path: Path, means: Means, *, protocol: LoadedProtocol | None = None, own_judges: bool = False
) -> list[Regraded]:
    """Measure every record of a bundle again.

    Held-out photographs come from the data set that is installed. An interrupted regrading is taken up again by the
    same call, as long as the installed code is the same.

    Args:
        path: the bundle, a folder or an archive.
        means: store, registry and resources.
        protocol: another version of the protocol, whose targets and attacks are the same; ``None`` for the record's.
        own_judges: whether judges are those of the store, trained there if need be, even if the bundle holds theirs.

    Raises:
        BundleError: if the bundle is damaged, or does not hold what its records were measured from.
        UsageError: if a plugin that made the records is not installed, or data are missing.
    """
    means.store.require_writable()
    with opened(path, place_in(means.store)) as (manifest, folder):
        contents = read_contents(manifest, folder)
        facts = Facts.beside(means.registry, means.store.root)
        cells = [_planned(record, contents, protocol, means, facts) for record in contents.records]
        _prepare(cells, contents, means, facts, own_judges=own_judges)
        state = [manifest.digest, means.registry.fingerprint()[0], means.device, cpu_threads(), own_judges]
        room = place_in(means.store) / digest(state)[:24]
        work = Store(room)
        _furnish(work, cells, contents, means.store, own_judges=own_judges)
        wanted = [node for one in cells for node in (*one.needs.gold, *one.needs.measures)]
        outcome = _run(wanted, [one.cell for one in cells], work, means, facts)
        theirs = set() if own_judges else set(contents.artifacts)
        found = [_result(one, work, means.registry, theirs, outcome) for one in cells]
    if all(one.record for one in found):
        shutil.rmtree(room, ignore_errors=True)
    return found


def _planned(record: Record, contents: Contents, protocol: LoadedProtocol | None, means: Means, facts: Facts) -> _Cell:
    cell = planned_cell(record, protocol or contents.protocol, means.registry, facts.memo, newest=(METRIC,))
    needs = needs_of(cell)
    require_evidence(record, cell, needs, contents)
    return _Cell(record, cell, needs)


def _prepare(cells: Sequence[_Cell], contents: Contents, means: Means, facts: Facts, *, own_judges: bool) -> None:
    """Make what the user's store lacks: data, and judges that do not come with the bundle."""
    wanted = [node for one in cells for node in one.needs.data]
    wanted += [node for one in cells for node in _own(one.needs, contents, own_judges=own_judges).values()]
    outcome = _run(wanted, [one.cell for one in cells], means.store, means, facts)
    if outcome.failed:
        raise MibenchError("; ".join(outcome.failed.values()))


def _own(needs: Needs, contents: Contents, *, own_judges: bool) -> Mapping[str, Node]:
    """Return the judges that do not come from the bundle."""
    return {role: node for role, node in needs.judges.items() if own_judges or node.key not in contents.artifacts}


def _furnish(work: Store, cells: Sequence[_Cell], contents: Contents, store: Store, *, own_judges: bool) -> None:
    for one in cells:
        own = _own(one.needs, contents, own_judges=own_judges)
        theirs = [*one.needs.packed, *(node for role, node in one.needs.judges.items() if role not in own)]
        for node in theirs:
            put(work, contents.artifacts[node.key])
        for node in (*one.needs.data, *own.values()):
            put(work, store.get(node.stage, node.key))


def _run(wanted: Iterable[Node], cells: Sequence[Cell], store: Store, means: Means, facts: Facts) -> NodeOutcomes:
    planned, missing = plan_nodes(cells, wanted, store, facts)
    facts.memo.save()
    if missing:
        raise UsageError(" ".join(dict.fromkeys(missing)))
    to_run = [one.node for one in planned if not one.reused]
    if not to_run:
        return NodeOutcomes()
    owner = f"executor {means.executor!r}"
    made = params.build(means.registry.component("executor", means.executor), {}, owner=owner)
    if not isinstance(made, Executor):
        raise TypeError(f"{means.executor!r} is not an Executor")
    return made.run(to_run, ExecutorContext(store, means.registry, means.device, means.workers))


def _result(one: _Cell, work: Store, registry: Registry, theirs: set[str], outcome: NodeOutcomes) -> Regraded:
    for node in (*one.needs.gold, *one.needs.measures):
        root = outcome.skipped.get(node.key, node.key)
        if root in outcome.failed:
            return Regraded(one.published, None, error=f"{node.label}: {outcome.failed[root]}")
    record = regraded_record(one.published, one.cell, work, registry)
    notes = notes_on(one.published, record, one.needs, theirs)
    return Regraded(one.published, record, tuple(changes(one.published, record)), tuple(notes))


def comparable(found: Iterable[Regraded]) -> list[tuple[Record, Record]]:
    """Return published and regraded records, if they were measured on the same ground: what moved is then a finding.

    Raises:
        UsageError: if one could not be measured, or was measured with other metrics, judges or private images.
    """
    pairs = []
    for one in found:
        if one.record is None:
            raise UsageError(f"{label(one.published)} could not be measured; nothing is attested: {one.error}")
        if one.record.cell.key != one.published.cell.key:
            raise UsageError(
                f"{label(one.published)} was measured by newer metrics, or under another protocol: that says nothing of"
                " the published numbers. Write it with --out, and add it to the board of a new version"
            )
        if one.record.inputs != one.published.inputs:
            raise UsageError(
                f"{label(one.published)} was measured with other judges or private images than those of the record, so"
                " equal numbers could not be expected; nothing is attested"
            )
        pairs.append((one.published, one.record))
    return pairs
