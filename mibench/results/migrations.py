"""Older forms of the record, and the steps that bring each up to date.

Version 1 is the first, so :data:`STEPS` is empty. Whoever changes the form in a way that older records do not have
raises ``SCHEMA_VERSION`` and adds the step from the version before, with a record of that version as its test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mibench.base.canonical import digest
from mibench.results.record import SCHEMA_VERSION

NOT_COMPARED = frozenset({"timings", "environment", "command", "digest", "origins"})
"""Parts of a record that may differ between two runs that agree, and are outside of its digest."""


class Step(NamedTuple):
    """From one version of the record to the next.

    Attributes:
        change: takes a record of the older version as plain JSON, which it may change, and returns the newer one. For
            what is no such record it may raise ``KeyError``, ``TypeError``, ``ValueError`` or ``AttributeError``.
        loses: what of the older version the newer one has no place for, in words; empty if nothing. A record that would
            lose something is never read in passing: its owner migrates the file.
        outside: the parts that were outside of the older version's digest.
    """

    change: Callable[[dict[str, Any]], dict[str, Any]]
    loses: str = ""
    outside: frozenset[str] = NOT_COMPARED


STEPS: dict[int, Step] = {}
"""Steps by the version that each begins with, up to the one before ``SCHEMA_VERSION``, without a gap."""


def oldest() -> int:
    """Return the oldest version that can be read."""
    return min(STEPS, default=SCHEMA_VERSION)


def losses(version: int) -> list[str]:
    """Return what a record of an older version would lose, in words; empty if nothing."""
    return [STEPS[at].loses for at in range(version, SCHEMA_VERSION) if STEPS[at].loses]


def digest_of(raw: Mapping[str, Any], version: int) -> str:
    """Return the digest that a record of an older version, as plain JSON, must state."""
    return digest({name: value for name, value in raw.items() if name not in STEPS[version].outside})


def migrated(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of an older version, as plain JSON, in the form of this one; the digest is still the old one.

    Raises:
        KeyError: if it is not of the version that it states; so do ``TypeError``, ``ValueError``, ``AttributeError``.
    """
    now = copy.deepcopy(dict(raw))
    for version in range(now["schema_version"], SCHEMA_VERSION):
        now = {**STEPS[version].change(now), "schema_version": version + 1}
    return now
