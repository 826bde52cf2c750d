"""``--set`` settings: which component each one is for, and an error for those that are for none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibench.api.errors import UsageError, suggestion
from mibench.api.specs import SETTABLE
from mibench.plan.facts import Facts

_FROZEN = " What only the protocol names is frozen: change it in a copy of its file, and run that (--protocol FILE)."


class Settings:
    """Settings by ``kind.parameter`` (every requested component of that kind that has it) or ``name.parameter``.

    A parameter in a group has a dotted name, ``attack.search.lr``.

    Args:
        raw: setting to value, as a request holds them.
        facts: of the components.
    """

    def __init__(self, raw: Mapping[str, Any], facts: Facts) -> None:
        self._raw = raw
        self._facts = facts
        self._used: set[str] = set()
        self._asked: dict[str, set[str]] = {kind: set() for kind in SETTABLE}
        registered = (entry.spec.name for kind in SETTABLE for entry in facts.registry.entries(kind))
        self._known = sorted({*SETTABLE, *registered}, key=len, reverse=True)

    def overrides(self, kind: str, name: str) -> dict[str, Any]:
        """Return the settings for one component and remember that they were used; a name beats a kind.

        Raises:
            UsageError: if one parameter is set twice, by two names of it.
        """
        traits = self._facts.traits(kind, name)
        self._asked[kind] |= {name}
        by_kind, by_name = {}, {}
        for key, value in self._raw.items():
            prefix, parameter = self._split(key)
            if prefix == name:
                by_name[parameter] = value
            elif prefix == kind and parameter in traits.fields:
                by_kind[parameter] = value
            else:
                continue
            self._used.add(key)
        names, owner = traits.names(), f"{kind} {name!r}"
        return {**names.flatten(by_kind, owner), **names.flatten(by_name, owner)}

    def check_all_used(self) -> None:
        """Raise for settings that no requested component took, with the closest name."""
        for key in self._raw:
            if key not in self._used:
                raise UsageError(self._explain(key))

    def _split(self, key: str) -> tuple[str, str]:
        """Return kind or name, and the parameter; both may contain dots, and the longest name that exists is meant."""
        prefix = next((name for name in self._known if key.startswith(f"{name}.")), key.partition(".")[0])
        return prefix, key[len(prefix) + 1 :]

    def _explain(self, key: str) -> str:
        prefix, parameter = self._split(key)
        names = {name for asked in self._asked.values() for name in asked}
        if prefix not in SETTABLE:
            more = _FROZEN if prefix in self._known else suggestion(prefix, [*SETTABLE, *names])
            return f"--set {key}: no requested component is called {prefix!r}.{more}"
        if prefix == "prior" and not self._asked[prefix]:
            return f"--set {key}: no requested attack brings a prior of its own.{_FROZEN}"
        fields = {field for name in self._asked[prefix] for field in self._facts.traits(prefix, name).fields}
        listed = ", ".join(sorted(fields)) or "none"
        asked = ", ".join(sorted(self._asked[prefix]))
        return f"--set {key}: no {prefix} has {parameter!r}.{suggestion(parameter, fields)} {asked}: {listed}."
