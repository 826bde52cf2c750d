"""Records under a newer version of their protocol: what stays the same is shown by planning the cell under both.

A key is a digest over everything that makes a number. So an entry carries over if, planned with what is installed, its
cell has the entry's own key under the older version, and the same measurements under the newer one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mibench.api.errors import MibenchError
from mibench.assemble.records import cell_ref, protocol_ref, reproduce
from mibench.assemble.replay import UPDATE, Replay, Stated, installed_parts, stated_versions
from mibench.leaderboard.finding import Problem
from mibench.plan.cells import Cell
from mibench.plan.facts import Facts
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol
from mibench.registry.registry import Registry
from mibench.results.io import seal
from mibench.results.record import Origin, Record

RUN_AGAIN = "run its command under the newer version"


class Carrier:
    """Takes records from one version of a protocol to the next.

    Args:
        registry: where components are found.
        old: the version that records are of.
        new: the version that they go to.
        memo: of what components said earlier.
    """

    def __init__(self, registry: Registry, old: LoadedProtocol, new: LoadedProtocol, memo: Memo | None = None) -> None:
        self._registry, self._old, self._new, self._memo = registry, old, new, memo or Memo()

    def carry(self, record: Record) -> Record | Problem:
        """Return a record as one of the newer version, or why it is none: what is missing, or which number changes."""
        cells = self._cells(record)
        if isinstance(cells, Problem):
            return cells
        before, after = cells
        if changed := next(_changed(_measures(before), _measures(after)), None):
            text = f"{changed} is made otherwise under {self._new.protocol.id}"
            return Problem("cell.key", text, RUN_AGAIN)
        was = Origin(protocol=self._old.protocol.id, digest=record.digest, change="cosmetic")
        changes = {
            "protocol": protocol_ref(after),
            "cell": cell_ref(after),
            "command": reproduce(after),
            "origins": [*record.origins, was],
        }
        return seal(record.model_copy(update=changes))

    def stands(self, record: Record) -> Problem | None:
        """Say why targets or reconstructions of a record do not stand under the newer version; ``None`` if they do."""
        cells = self._cells(record)
        if isinstance(cells, Problem):
            return cells
        if changed := next(_changed(*map(_evidence, cells)), None):
            return Problem("cell.key", f"{changed} is made otherwise under {self._new.protocol.id}", RUN_AGAIN)
        return None

    def _cells(self, record: Record) -> tuple[Cell, Cell] | Problem:
        """Return a record's cell under both versions, or why it cannot be planned as it was."""
        installed = installed_parts(record, self._registry)
        if absent := next((role for role, entries in installed.items() if not entries), None):
            part = record.components[absent]
            text = f"{part.kind} {part.name!r} of {part.distribution} {part.distribution_version} is not installed"
            return Problem(f"components.{absent}", text, f"pip install {part.distribution}, and migrate again")
        unknown, older = stated_versions(record, installed)
        if unknown:
            return unknown[0].problem
        facts = Facts(Stated(self._registry, older), self._memo, lenient=True)
        try:
            before, after = (Replay(record, one, facts, []).cell() for one in (self._old, self._new))
        except MibenchError as error:
            return Problem("components", str(error), UPDATE)
        if facts.absent:
            return Problem("components", f"files are missing here: {facts.absent[0]}", "migrate where they are")
        if cell_ref(before) != record.cell:
            text = "with what is installed here, its cell has another key"
            return Problem("cell.key", text, "migrate it with the plugins and copies of data that made it")
        return before, after


def _measures(cell: Cell) -> dict[str, str]:
    groups = (("measure", cell.measures), *cell.controls.items())
    return {f"{group} {name}": node.key for group, nodes in groups for name, node in nodes.items()}


def _evidence(cell: Cell) -> dict[str, str]:
    """Return the keys of what is measured. Gold is left out, which is pictures and no work of an attack."""
    found = {"target": cell.target.key, "reconstructions": cell.reconstructions.key}
    for name, nodes in cell.controls.items():
        keys = [node.needs["evidence"] for node in nodes.values() if "evidence" in node.needs and name != "gold"]
        found |= {f"reconstructions of the control {name}": key for key in keys}
    return found


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Yield what has another key, is missing or is new."""
    yield from (name for name in {**before, **after} if before.get(name) != after.get(name))
