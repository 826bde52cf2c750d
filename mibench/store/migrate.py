"""Taking a store to the newest layout, in place: artifact by artifact, each whole in its old place or in its new one.

The marker says first that a migration is on its way, so that nobody begins to use the store. Only then is every lock
looked at: who holds one uses the store, and the marker is put back. Who takes one later reads the marker and stops
(:meth:`mibench.store.store.Store.lock`). An artifact gets its new manifest in one rename and its new place in another;
a migration that was killed in between continues with what the manifests and the marker say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mibench.api.errors import StoreError
from mibench.base.files import sync_folder, write_atomic
from mibench.store import layout
from mibench.store.artifact import MANIFEST
from mibench.store.aside import exists, make_folder, set_aside
from mibench.store.layout import Marker, read_marker, write_marker
from mibench.store.locks import Locks
from mibench.store.trouble import saving

_OWN = "migrate.lock"
_HELD = ".held"


class Moved(NamedTuple):
    """What a migration did.

    Attributes:
        before: layout before.
        after: layout now.
        artifacts: artifacts that were taken along.
        aside: artifacts that could not be read, and lie in ``damaged/`` now.
    """

    before: int
    after: int
    artifacts: int
    aside: int


def migrate_store(root: Path, *, dry_run: bool = False) -> Moved:
    """Take a store to the newest layout, or continue what was interrupted; without effect on one that has it.

    Args:
        root: the store.
        dry_run: only count.

    Raises:
        StoreError: if there is no store, it has a newer layout, another process uses it, or it cannot be written.
    """
    if not (root / "artifacts").is_dir():
        raise StoreError(f"{root} is no store: it has no folder 'artifacts'. Name one with --store")
    with saving("the new layout", root, ours=True):
        marker = read_marker(root)
        if max(marker.layout, marker.migrating_to or 0) > layout.LAYOUT:
            layout.require_current(root)
        if marker == Marker(layout.LAYOUT):
            return Moved(marker.layout, layout.LAYOUT, 0, 0)
        if dry_run:
            return Moved(marker.layout, layout.LAYOUT, sum(1 for _ in _artifacts(root)), 0)
        (root / "locks").mkdir(exist_ok=True)
        with Locks(root / "locks", warn=False).hold(_OWN, wait=False) as mine:
            if not mine:
                raise StoreError(f"another process migrates the store {root}; wait for it")
            return _migrate(root, read_marker(root))


def _migrate(root: Path, marker: Marker) -> Moved:
    moved = aside = 0
    for version in range(marker.layout, layout.LAYOUT):
        write_marker(root, Marker(version, version + 1))
        if user := _user(root):
            if marker.migrating_to is None and version == marker.layout:
                write_marker(root, marker)
            raise StoreError(
                f"another process uses the store {root} (it holds {user}). Wait for it or end it, and give the same"
                " command again. Nothing was changed."
            )
        for folder in list(_artifacts(root)):
            if _take_along(root, folder, version):
                moved += 1
            else:
                aside += 1
        write_marker(root, Marker(version + 1))
    return Moved(marker.layout, layout.LAYOUT, moved, aside)


def _user(root: Path) -> str:
    """Return the lock that somebody holds; empty if nobody does."""
    locks = Locks(root / "locks", warn=False)
    for path in sorted((root / "locks").iterdir()):
        name = path.name.removesuffix(_HELD)
        if name == _OWN or not path.is_file():
            continue
        with locks.hold(name, wait=False) as free:
            if not free:
                return path.name
    return ""


def _artifacts(root: Path) -> Iterator[Path]:
    """Yield the folders of committed artifacts, wherever a layout has them; drafts are hidden, and not among them."""
    found: set[Path] = set()
    for manifest in sorted((root / "artifacts").rglob(MANIFEST), key=lambda path: len(path.parts)):
        folder = manifest.parent
        hidden = any(part.startswith(".") for part in folder.relative_to(root).parts)
        if not hidden and found.isdisjoint(folder.parents):  # an artifact's own file may have the name
            found.add(folder)
            yield folder


def _take_along(root: Path, folder: Path, version: int) -> bool:
    """Bring one artifact into the next layout; tell whether it is one."""
    step, home, damaged = layout.STEPS[version], root / "artifacts", root / "damaged"
    try:
        manifest = _manifest(folder)
        found = manifest["store_version"]
        if found not in (version, version + 1):
            raise ValueError(f"store version {found!r}, expected {version}")
        if found == version:
            manifest = {**step.manifest(manifest), "store_version": version + 1}
        place = step.place(manifest)
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"its place {place} is outside of the store")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        set_aside(folder, make_folder(damaged, damaged), f"its manifest cannot be read: {error}")
        return False
    if found == version:
        write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    _move(folder, home / place, damaged)
    return True


def _move(folder: Path, target: Path, damaged: Path) -> None:
    if target == folder:
        return
    if exists(target):
        set_aside(target, make_folder(damaged, damaged), "an artifact came to its place in a new layout")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    sync_folder(target.parent)
    sync_folder(folder.parent)


def _manifest(folder: Path) -> Any:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
