"""Installed distributions that announce a mibench plugin; a broken one does not hide the others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from mibench.registry.failures import DISABLE_VARIABLE, PluginFailure, describe_error

GROUP = "mibench"
_MENTIONS_GROUP = re.compile(rf"^\s*\[\s*{GROUP}\s*\]", re.MULTILINE)


@dataclass(frozen=True)
class EntryPointRef:
    """An entry point that has not been loaded yet.

    Attributes:
        distribution: name of the distribution.
        version: its version.
        name: name of the entry point.
        value: ``"module"`` or ``"module:object"``.
    """

    distribution: str
    version: str
    name: str
    value: str

    @property
    def label(self) -> str:
        """``name = value``, as a project file has it."""
        return f"{self.name} = {self.value}"


def announced() -> tuple[list[EntryPointRef], list[PluginFailure]]:
    """Return the entry points of all distributions, sorted, and those distributions whose metadata is broken.

    Distributions and entry points named in ``MIBENCH_DISABLE_PLUGINS`` (comma-separated) are left out.
    """
    found: list[EntryPointRef] = []
    failures: list[PluginFailure] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        text = _read(distribution)
        if text is None or not _MENTIONS_GROUP.search(text):
            continue
        name, version = _identity(distribution)
        if normal(name) in seen:  # shadowed by one that comes earlier on the path
            continue
        seen.add(normal(name))
        try:
            found += [EntryPointRef(name, version, point.name, point.value) for point in _points(distribution)]
        except Exception as error:
            reason = f"its entry_points.txt cannot be read: {describe_error(error)}"
            failures.append(PluginFailure(name, version, "", "", "entry-point", reason))
    off = disabled()
    kept = [point for point in found if not {normal(point.distribution), normal(point.name)} & off]
    failures = [failure for failure in failures if normal(failure.distribution) not in off]
    return sorted(kept, key=lambda point: (normal(point.distribution), point.name)), failures


def disabled() -> frozenset[str]:
    """Return the normalised names in ``MIBENCH_DISABLE_PLUGINS``."""
    return frozenset(normal(part) for part in os.environ.get(DISABLE_VARIABLE, "").split(",") if part.strip())


def normal(name: str) -> str:
    """Return a distribution's name as pip compares it: ``My_Plugin`` and ``my-plugin`` are the same."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _points(distribution: metadata.Distribution) -> Iterator[metadata.EntryPoint]:
    return (point for point in distribution.entry_points if point.group == GROUP)


def _read(distribution: metadata.Distribution) -> str | None:
    try:
        return distribution.read_text("entry_points.txt")
    except (OSError, UnicodeDecodeError):
        return None


def _identity(distribution: metadata.Distribution) -> tuple[str, str]:
    # Old and damaged installations lack fields; a missing one must not cost the whole listing.
    try:
        return str(distribution.metadata["Name"] or "unknown"), str(distribution.version or "unknown")
    except Exception:
        return "unknown", "unknown"
