"""How a store is laid out, and which layout this mibench has. A store without a marker is of the first one.

Whoever changes the layout raises :data:`LAYOUT` and adds the step from the one before to :data:`STEPS`, with its test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mibench.api.errors import StoreError
from mibench.base.files import write_atomic

LAYOUT = 1
MARKER = "layout.json"
"""Lies in the root of a store: ``{"layout": 1}``, with ``"migrating_to": 2`` while artifacts are on their way."""
UPDATE = "Update with: pip install --upgrade mibench. Or choose another store with --store"


class Step(NamedTuple):
    """From one layout to the next.

    Attributes:
        place: from an artifact's new manifest to its place below ``artifacts/`` in the next layout. It depends on
            nothing else, so that doing it twice is doing it once.
        manifest: from an artifact's manifest to that of the next layout; the version is set by who calls it. Files of
            an artifact and their checksums stay as they are.
    """

    place: Callable[[Mapping[str, Any]], PurePosixPath]
    manifest: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda manifest: manifest


STEPS: dict[int, Step] = {}
"""Steps by the layout that each begins with, up to the one before ``LAYOUT``, without a gap."""


def manifest_now(raw: Mapping[str, Any], where: Path) -> Mapping[str, Any]:
    """Return a manifest of this or an older layout as one of this layout; layers that plugins ship may be older.

    Raises:
        StoreError: if it is of a newer layout, which says nothing about its bytes.
        ValueError: if it is of none.
    """
    version = raw["store_version"]
    if type(version) is int and version > LAYOUT:
        raise StoreError(
            f"{where} has store layout {version}, and this mibench knows layouts up to {LAYOUT}. {UPDATE}."
        )
    if type(version) is not int or version < 1:
        raise ValueError(f"store version {version!r}, expected {LAYOUT}")
    for older in range(version, LAYOUT):
        raw = {**STEPS[older].manifest(raw), "store_version": older + 1}
    return raw


class Marker(NamedTuple):
    """What a store says about its layout.

    Attributes:
        layout: the layout.
        migrating_to: the layout that a migration is on the way to; ``None`` if there is none.
    """

    layout: int
    migrating_to: int | None = None


def read_marker(root: Path) -> Marker:
    """Return what a store says about its layout.

    Raises:
        StoreError: if its marker is not one.
        OSError: if it cannot be read.
    """
    try:
        raw = json.loads((root / MARKER).read_text(encoding="utf-8"))
        made = Marker(raw["layout"], raw.get("migrating_to"))
    except FileNotFoundError:
        return Marker(1)
    except (ValueError, KeyError, TypeError, AttributeError):
        made = Marker(0)
    if type(made.layout) is not int or made.layout < 1 or type(made.migrating_to) not in (int, type(None)):
        raise StoreError(
            f'{root / MARKER} does not say which layout the store has; expected {{"layout": {LAYOUT}}}.'
            " Restore it, or choose another store with --store."
        )
    return made


def write_marker(root: Path, marker: Marker) -> None:
    """Say which layout a store has."""
    plain = {name: value for name, value in marker._asdict().items() if value is not None}
    write_atomic(root / MARKER, json.dumps(plain) + "\n")


def require_current(root: Path) -> None:
    """Refuse a store that this mibench cannot use as it is.

    Raises:
        StoreError: if it is of an older layout, in the middle of a migration, or of a newer layout.
        OSError: if its marker cannot be read.
    """
    marker = read_marker(root)
    newest = max(marker.layout, marker.migrating_to or 0)
    if newest > LAYOUT:
        known = f"this mibench knows layouts up to {LAYOUT}"
        raise StoreError(f"the store {root} has layout {newest}, and {known}. {UPDATE}.")
    if marker.migrating_to is not None:
        raise StoreError(
            f"the store {root} is being taken from layout {marker.layout} to {marker.migrating_to}, or that was"
            f" interrupted. Continue it with: mibench store migrate --store {root}"
        )
    if marker.layout < LAYOUT:
        raise StoreError(
            f"the store {root} has layout {marker.layout}, and this mibench uses layout {LAYOUT}. Take it there with:"
            f" mibench store migrate --store {root}"
        )
