"""``--set`` settings: which component each one is for, and an error for those that are for none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibench.api.errors import UsageError, suggestion
from mibench.api.specs import SETTABLE
from mibench.plan.facts import Facts


class Settings:
    """Settings by ``kind.parameter`` (every requested component of that kind that has it) or ``name.parameter``.

    Args:
        raw: setting to value, as a request holds them.
        facts: of the components.
    """

    def __init__(self, raw: Mapping[str, Any], facts: Facts) -> None:
        self._raw = raw
        self._facts = facts
        self._used: set[str] = set()
        self._asked: dict[str, set[str]] = {kind: set() for kind in SETTABLE}

    def overrides(self, kind: str, name: str) -> dict[str, Any]:
        """Return the settings for one component and remember that they were used; a name beats a kind."""
        fields = self._facts.traits(kind, name).fields
        self._asked[kind] |= {name}
        by_kind, by_name = {}, {}
        for key, value in self._raw.items():
            # Component names may contain dots; parameter names may not.
            prefix, _, parameter = key.rpartition(".")
            if prefix == name:
                by_name[parameter] = value
            elif prefix == kind and parameter in fields:
                by_kind[parameter] = value
            else:
                continue
            self._used.add(key)
        return {**by_kind, **by_name}

    def check_all_used(self) -> None:
        """Raise for settings that no requested component took, with the closest name."""
        for key in self._raw:
            if key not in self._used:
                raise UsageError(self._explain(key))

    def _explain(self, key: str) -> str:
        prefix, _, parameter = key.rpartition(".")
        names = {name for asked in self._asked.values() for name in asked}
        if prefix not in SETTABLE:
            return f"--set {key}: no requested component is called {prefix!r}.{suggestion(prefix, [*SETTABLE, *names])}"
        if prefix == "prior" and not self._asked[prefix]:
            return f"--set {key}: no requested attack brings a prior of its own, and the protocol's is frozen"
        fields = {field for name in self._asked[prefix] for field in self._facts.traits(prefix, name).fields}
        listed = ", ".join(sorted(fields)) or "none"
        asked = ", ".join(sorted(self._asked[prefix]))
        return f"--set {key}: no {prefix} has {parameter!r}.{suggestion(parameter, fields)} {asked}: {listed}."
