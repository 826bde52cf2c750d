"""Names of parameters: dotted where they stand in groups, flat where a component had them before it had groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mibench.api.errors import UsageError


class Given(NamedTuple):
    """A value that was given for a parameter.

    Attributes:
        written: the name that it was given under, with dots where mappings were nested.
        value: as given.
    """

    written: str
    value: Any


@dataclass(frozen=True)
class Names:
    """What a component's parameters are called.

    Attributes:
        groups: dotted names of its groups.
        flat: flat name of each parameter that has one, by its dotted name.
    """

    groups: Collection[str]
    flat: Mapping[str, str]

    def read(self, settings: Mapping[str, Any], owner: str) -> dict[str, Given]:
        """Return what was given by the name that keys hold: the flat one if there is one, else the dotted one.

        Mappings that are given for a group are taken apart; names that do not exist stay as they are.

        Args:
            settings: nested, dotted or flat names to values.
            owner: how errors name the component.

        Raises:
            UsageError: if a parameter is given twice, under two names.
        """
        found: dict[str, Given] = {}
        for written, value in self._apart(settings, ""):
            name = self.flat.get(written, written)
            if name in found:
                both = f"{found[name].written!r} and {written!r}"
                raise UsageError(f"{owner}: {both} are two names of one parameter; give one of them.")
            found[name] = Given(written, value)
        return found

    def flatten(self, settings: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """Return the values alone of what :meth:`read` returns.

        Raises:
            UsageError: if a parameter is given twice, under two names.
        """
        return {name: given.value for name, given in self.read(settings, owner).items()}

    def _apart(self, settings: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
        for key, value in settings.items():
            written = f"{place}{key}"
            if written in self.groups and isinstance(value, Mapping):
                yield from self._apart(value, f"{written}.")
            else:
                yield written, value
