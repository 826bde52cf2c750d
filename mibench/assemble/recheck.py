"""Records against what is installed: their cell is planned again, and components, key and columns are compared.

A board's own rules need only the record. These need its plugins; what is not installed, or only newer, is left to be
believed, and the verdict says so.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mibench.api.errors import DataError, MibenchError, PluginError, UsageError
from mibench.assemble.columns import check_columns
from mibench.assemble.records import cell_ref, components
from mibench.assemble.replay import CELL, DEFENSE_PARAMS, UPDATE, Replay, Stated, installed_parts, stated_versions
from mibench.leaderboard.finding import Finding, Problem, differs
from mibench.plan.cells import Cell
from mibench.plan.facts import Facts
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol, load_protocol
from mibench.protocol.presets import Presets
from mibench.registry.joint import is_joint
from mibench.registry.registry import Registry
from mibench.results.flags import outside_threat_model
from mibench.results.record import Record

COMPARED = (
    "kind",
    "name",
    "distribution",
    "version",
    "preset",
    "params",
    "overridden",
    "licence",
    "access",
    "baseline",
)
"""What of a component its spec, its preset and the cell determine. Source code and release may be other ones."""


class Verdict(NamedTuple):
    """What planning a record's cell again says.

    Attributes:
        findings: rules that the record breaks.
        reported: roles of components, and ``"key"``, that could not be compared and have to be believed.
    """

    findings: list[Finding]
    reported: list[str]


class Recheck:
    """Checks records with the components of a registry, and remembers verdicts by digest.

    Args:
        registry: where components are found.
        memo: of what components said earlier.
    """

    def __init__(self, registry: Registry, memo: Memo | None = None) -> None:
        self._registry, self._memo = registry, memo or Memo()
        self._known: dict[str, Verdict] = {}

    def findings(self, record: Record, protocol: LoadedProtocol) -> list[Finding]:
        """Return the rules that a record breaks."""
        return self.verdict(record, protocol).findings

    def verdict(self, record: Record, protocol: LoadedProtocol) -> Verdict:
        """Return those rules, and what has to be believed."""
        if record.digest not in self._known:
            self._known[record.digest] = self._judge(record, protocol)
        return self._known[record.digest]

    @classmethod
    def beside(cls, registry: Registry, store: Path) -> Recheck:
        """Return checks that use what plans remember beside a store, so that nothing known is imported again."""
        return cls(registry, Facts.beside(registry, store).memo)

    def save(self) -> None:
        """Remember what components said."""
        self._memo.save()

    def believed(self) -> Counter[str]:
        """Return in how many of the records so far each role, or the key, could not be compared."""
        return Counter(role for verdict in self._known.values() for role in verdict.reported)

    def _judge(self, record: Record, protocol: LoadedProtocol) -> Verdict:
        installed = installed_parts(record, self._registry)
        absent = [role for role, entries in installed.items() if not entries]
        unknown, older = stated_versions(record, installed)
        if unknown or not set(absent) <= {*CELL, "prior"}:
            return Verdict(unknown, [] if unknown else [*record.components, "key"])
        facts = Facts(Stated(self._registry, older), self._memo, lenient=True)
        replay = Replay(record, protocol, facts, absent)
        aged = [role for role, part in record.components.items() if (part.kind, part.name) in older]
        try:
            cell = replay.cell()
        except (DataError, PluginError):  # this machine lacks something
            return Verdict([], [*record.components, "key"])
        except MibenchError as error:
            return Verdict([], [*aged, "key"]) if aged else Verdict([Finding("MB111", _unplanned(error))], [])
        if facts.absent or _of_another_copy(record, cell, facts):  # weights or pictures that are not on this machine
            return Verdict([], [*record.components, "key"])
        believed = [role for role in record.components if role in absent or ("attack" in absent and role == "prior")]
        found = list(_differences(record, cell, self._registry, {*believed, *aged}))
        if found and self._has_other_presets(protocol):
            found = [_hinted(one, protocol.protocol.id) for one in found]
        found += check_columns(record, cell, {part for part in aged if part.startswith("metric:")})
        key = cell_ref(cell)
        if not believed and not found and key != record.cell:
            if aged:
                return Verdict([], [*aged, "key"])
            found.append(Finding("MB205", differs("cell.key", f"{key.key} of its own components", record.cell.key)))
        return Verdict(found, [*believed, "key"] if believed else [])

    def _has_other_presets(self, board: LoadedProtocol) -> bool:
        """Tell whether the copy of a protocol that a board keeps has other presets than the installed one."""
        presets = Presets(self._registry)
        with contextlib.suppress(UsageError):
            installed = load_protocol(self._registry, board.protocol.id)
            return presets.listed(installed.protocol) != presets.listed(board.protocol)
        return False


def _hinted(finding: Finding, protocol: str) -> Finding:
    """Add what else may be wrong with a setting: presets are outside of the digest, so a board may keep older ones."""
    problem = finding.problem
    if finding.id != "MB111" or not {"params", "preset", "overridden"} & set(problem.field.split(".")):
        return finding
    hint = f"or let the board's protocol.yaml take over the presets of the installed {protocol}, which are other ones"
    return finding._replace(problem=problem._replace(remedy=f"{problem.remedy}, {hint}"))


def _of_another_copy(record: Record, cell: Cell, facts: Facts) -> bool:
    """Tell whether a record was made with a copy of a dataset that was not prepared here."""
    stated, here = record.components.get("dataset"), cell.graph.fixed.dataset
    if stated is None or stated.name != here.name:
        return False
    copies = facts.traits("dataset", here.name).copies
    return any(stated.params.get(parameter) != here.params.get(parameter) for parameter in copies)


def _unplanned(error: MibenchError) -> Problem:
    """Return why a cell cannot be planned, with the place in the record if the error names it."""
    text = str(error).removeprefix(f"{DEFENSE_PARAMS}: ")
    return Problem("components" if text == str(error) else DEFENSE_PARAMS, text, UPDATE)


def _differences(record: Record, cell: Cell, registry: Registry, left: set[str]) -> Iterator[Finding]:
    made = components(cell, registry)
    # The first records did not state accesses. That is as good, unless the flag that follows from them is missing.
    unsaid = outside_threat_model(record.model_copy(update={"components": made})) is None
    for role, expected in made.items():
        stated = record.components.get(role)
        if stated is None or role in left:
            continue
        for field in COMPARED if not (role == "defense" and is_joint(stated.name)) else (*COMPARED[:4], *COMPARED[5:6]):
            wanted, got = getattr(expected, field), getattr(stated, field)
            if wanted != got and not (field == "access" and got is None and unsaid):
                yield Finding("MB111", _told(f"components.{role}.{field}", wanted, got))
    identities = {str(label): identity for label, identity in enumerate(cell.graph.fixed.identities.private)}
    if record.classes != identities:
        yield Finding("MB107", differs("classes", f"the protocol's identities {identities}", record.classes))


def _told(field: str, wanted: object, got: object) -> Problem:
    """Name the parameter that differs, not all of them."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        names = [name for name in {**wanted, **got} if wanted.get(name, ...) != got.get(name, ...)]
        first = min(names)
        return differs(f"{field}.{first}", wanted.get(first, "no such parameter"), got.get(first, "nothing"))
    return differs(field, wanted, got)
