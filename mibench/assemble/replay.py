"""The cell of a record, planned again with what is installed, under any version of its protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from mibench.api.errors import PluginError, UsageError
from mibench.leaderboard.finding import Finding, differs
from mibench.plan.cells import Cell, expand_loaded
from mibench.plan.facts import Facts
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.request import Request
from mibench.registry.joint import split_names
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry
from mibench.results.record import ComponentRef, Record

DEFENSE_PARAMS = "components.defense.params"
CELL = ("model", "defense", "attack")
UPDATE = "install the plugin's release that made the record, and add it again"


def installed_parts(record: Record, registry: Registry) -> dict[str, list[Registered]]:
    """Return what is installed of each component by role: one, several that are used together, or none."""
    return {role: _installed(part, registry) for role, part in record.components.items()}


def _installed(part: ComponentRef, registry: Registry) -> list[Registered]:
    try:
        return [registry.get(part.kind, name) for name in split_names(part.name)]
    except (UsageError, PluginError):
        return []


def stated_versions(
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


class Stated(Registry):
    """A registry in which some components have an older version of their numbers, as a record states it."""

    def __init__(self, registry: Registry, versions: Mapping[tuple[str, str], str]) -> None:
        vars(self).update(vars(registry))
        self._versions = versions

    def get(self, kind: str, name: str) -> Registered:
        """Return a component, in the stated version of its numbers."""
        found = super().get(kind, name)
        version = self._versions.get((found.kind, name))
        return replace(found, spec=replace(found.spec, version=version)) if version else found


class Replay:
    """Plans the cell of a record, with stand-ins of the protocol for what is not installed.

    Args:
        record: the record.
        protocol: its protocol, or another version of it.
        facts: of components.
        absent: roles of what is not installed.
    """

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


def planned_cell(
    record: Record, protocol: LoadedProtocol, registry: Registry, memo: Memo, *, newest: Collection[str] = ()
) -> Cell:
    """Return the cell of a record, as the installed plugins plan it.

    Args:
        record: the record.
        protocol: its protocol, or another version of it.
        registry: the installed components; all that the record names must be among them.
        memo: of what components said earlier.
        newest: kinds whose installed version counts and not the one that the record states.

    Raises:
        UsageError: if a component is not installed, is older than the one in the record, or refuses its parameters.
        MibenchError: if this machine lacks something that the cell is planned from.
    """
    installed = installed_parts(record, registry)
    for role, entries in installed.items():
        part = record.components[role]
        if not entries:
            raise UsageError(
                f"the {part.kind} {part.name!r} is not installed here; install {part.distribution}"
                f" {part.distribution_version}, which the record was made with"
            )
    wrong, older = stated_versions(record, installed)
    if wrong:
        raise UsageError(str(wrong[0].problem))
    older = {known: version for known, version in older.items() if known[0] not in newest}
    facts = Facts(Stated(registry, older), memo)
    return Replay(record, protocol, facts, []).cell()
