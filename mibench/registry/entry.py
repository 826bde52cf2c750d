"""A component as keys and records state it: name, version of its numbers, and all parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mibench.registry.joint import is_joint, split_names


@dataclass(frozen=True)
class Entry:
    """What of a component enters a key.

    Attributes:
        name: registered name, or several joined by ``+``.
        version: version of the component's numbers; joined as the names are.
        params: all parameters as plain JSON, digests in the place of files; of several components, by the name of each.
    """

    name: str
    version: str
    params: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """Names of the components: one, or those that are used together."""
        return split_names(self.name)

    @property
    def parts(self) -> list[Entry]:
        """The components that are used together; empty for a single one."""
        if not is_joint(self.name):
            return []
        versions = split_names(self.version)
        versions = versions if len(versions) == len(self.names) else [self.version] * len(self.names)
        stated = zip(self.names, versions, strict=True)
        return [Entry(name, version, self.params[name]) for name, version in stated]

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"name": self.name, "version": self.version, "params": dict(self.params)}
