"""Records against what is installed: their cell is planned again, and components, key and columns are compared.

A board's own rules need only the record. These need its plugins; what is not installed, or only newer, is left to be
believed, and the verdict says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mibench.api.errors import DataError, MibenchError, PluginError, UsageError
from mibench.assemble.columns import check_columns
from mibench.assemble.records import cell_ref, components
from mibench.leaderboard.finding import Finding, Problem, differs
from mibench.plan.cells import Cell, expand_loaded
from mibench.plan.facts import Facts
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.request import Request
from mibench.registry.joint import is_joint, split_names
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry
from mibench.results.flags import outside_threat_model
from mibench.results.record import ComponentRef, Record

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
DEFENSE_PARAMS = "components.defense.params"
CELL = ("model", "defense", "attack")
UPDATE = "install the plugin's release that made the record, and add it again"


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
        installed = {role: self._installed(part) for role, part in record.components.items()}
        absent = [role for role, entries in installed.items() if not entries]
        unknown, older = _versions(record, installed)
        if unknown or not set(absent) <= {*CELL, "prior"}:
            return Verdict(unknown, [] if unknown else [*record.components, "key"])
        facts = Facts(_Stated(self._registry, older), self._memo, lenient=True)
        replay = _Replay(record, protocol, facts, absent)
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
        found += check_columns(record, cell, {part for part in aged if part.startswith("metric:")})
        key = cell_ref(cell)
        if not believed and not found and key != record.cell:
            if aged:
                return Verdict([], [*aged, "key"])
            found.append(Finding("MB205", differs("cell.key", f"{key.key} of its own components", record.cell.key)))
        return Verdict(found, [*believed, "key"] if believed else [])

    def _installed(self, part: ComponentRef) -> list[Registered]:
        """Return the component, or those that are used together; none if one of them is not installed."""
        try:
            return [self._registry.get(part.kind, name) for name in split_names(part.name)]
        except (UsageError, PluginError):
            return []


def _of_another_copy(record: Record, cell: Cell, facts: Facts) -> bool:
    """Tell whether a record was made with a copy of a dataset that was not prepared here."""
    stated, here = record.components.get("dataset"), cell.graph.fixed.dataset
    if stated is None or stated.name != here.name:
        return False
    copies = facts.traits("dataset", here.name).copies
    return any(stated.params.get(parameter) != here.params.get(parameter) for parameter in copies)


class _Stated(Registry):
    """A registry in which some components have an older version of their numbers, as a record states it."""

    def __init__(self, registry: Registry, versions: Mapping[tuple[str, str], str]) -> None:
        vars(self).update(vars(registry))
        self._versions = versions

    def get(self, kind: str, name: str) -> Registered:
        found = super().get(kind, name)
        version = self._versions.get((found.kind, name))
        return replace(found, spec=replace(found.spec, version=version)) if version else found


class _Replay:
    """Plans the cell of a record, with stand-ins of the protocol for what is not installed."""

    def __init__(self, record: Record, protocol: LoadedProtocol, facts: Facts, absent: list[str]) -> None:
        self._record, self._protocol, self._facts = record, protocol, facts
        frozen = protocol.protocol
        standing = {"model": frozen.model.name, "defense": frozen.undefended.name, "attack": frozen.floor.name}
        self._asked = {role: standing[role] if role in absent else self._label(role) for role in CELL}
        self._defense = None if "defense" in absent else record.components["defense"]

    def cell(self) -> Cell:
        """Return the cell.

        Raises:
            MibenchError: if it cannot be planned.
        """
        made = self._plan({})
        stated = self._defense
        if stated is None or (made.defense.params == stated.params and not made.defense.parts):
            return made
        settings = {f"defense.{name}": value for name, value in stated.params.items()}
        if made.defense.parts:
            each = {name: values for name, values in stated.params.items() if isinstance(values, dict)}
            settings = {f"{part}.{name}": value for part, own in each.items() for name, value in own.items()}
        try:
            return self._plan(settings)
        except UsageError as error:
            raise UsageError(f"{DEFENSE_PARAMS}: {error}") from None

    def _plan(self, settings: Mapping[str, Any]) -> Cell:
        asked = self._asked
        request = Request(
            models=(asked["model"],),
            defenses=(asked["defense"],),
            attacks=(asked["attack"],),
            seeds=(self._record.cell.seed,),
            settings=dict(settings),
        )
        return expand_loaded(self._protocol, request, self._facts)[-1]  # after its undefended control

    def _label(self, role: str) -> str:
        """Return what to type for a component: a preset that the protocol does not choose by itself is named."""
        if role == "attack":
            return self._record.cell.attack_label
        part, frozen = self._record.components[role], self._protocol.protocol
        usual = {frozen.name, frozen.model.preset if role == "model" else frozen.undefended.preset, None}
        return part.name if part.preset in usual else f"{part.name}/{part.preset}"


def _unplanned(error: MibenchError) -> Problem:
    """Return why a cell cannot be planned, with the place in the record if the error names it."""
    text = str(error).removeprefix(f"{DEFENSE_PARAMS}: ")
    return Problem("components" if text == str(error) else DEFENSE_PARAMS, text, UPDATE)


def _versions(
    record: Record, installed: Mapping[str, list[Registered]]
) -> tuple[list[Finding], dict[tuple[str, str], str]]:
    """Return versions that nobody can have made, and older ones by kind and name."""
    found, older = [], dict[tuple[str, str], str]()
    for role, entries in installed.items():
        part = record.components[role]
        stated = split_names(part.version) if len(entries) > 1 else [part.version]
        if len(stated) != len(entries) and entries:
            found.append(Finding("MB112", differs(f"components.{role}.version", "one for each part", part.version)))
            continue
        for entry, version in zip(entries, stated, strict=bool(entries)):
            if version == entry.spec.version:
                continue
            if version.isdecimal() and entry.spec.version.isdecimal() and 0 < int(version) < int(entry.spec.version):
                older[entry.kind, entry.name] = version
            else:
                expected = f"{entry.spec.version}, the installed version of {entry.kind} {entry.name!r}"
                found.append(Finding("MB112", differs(f"components.{role}.version", expected, version, UPDATE)))
    return found, older


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
