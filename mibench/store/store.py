"""The store: content-addressed artifacts, committed atomically, safe to share between processes and users.

Layout: ``<root>/artifacts/<stage>/<key>/`` holds committed artifacts and, hidden beside them, drafts; ``work/<key>/``
checkpoints of unfinished ones, ``locks/`` one lock file per key (:mod:`mibench.store.locks` says why they stay),
``damaged/`` what failed its checksum or was in the way, ``layout.json`` which layout this is
(:mod:`mibench.store.layout`). Lower layers are read-only folders of ready-made artifacts that plugins ship. The umask
decides who may read and write: a group shares a store that it makes under ``umask 002``.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mibench.api.errors import StoreError, UsageError
from mibench.api.folders import home_folder, named_folder
from mibench.base.files import sync_folder
from mibench.store import layout
from mibench.store.artifact import MANIFEST, Artifact, inspect, read_artifact, write_manifest
from mibench.store.aside import exists, make_folder, set_aside
from mibench.store.drafts import drafts, flush, make_draft, share
from mibench.store.layout import Marker, require_current, write_marker
from mibench.store.locks import Locks
from mibench.store.stamp import has_checkpoint, read_stamp
from mibench.store.trouble import reason, saving, unreadable

_log = logging.getLogger(__name__)


def default_root() -> Path:
    """Return the user's store: ``$MIBENCH_STORE``, else ``mibench`` in the user's cache folder.

    Raises:
        UsageError: if there is neither, because the user has no home.
    """
    chosen = os.environ.get("MIBENCH_STORE", "")
    if chosen.strip():
        return named_folder(chosen, "MIBENCH_STORE")
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if cache.strip() and named_folder(cache, "XDG_CACHE_HOME").is_absolute():  # its standard says to ignore others
        return named_folder(cache, "XDG_CACHE_HOME") / "mibench"
    home = home_folder()
    if home is None:
        raise UsageError(
            "There is no folder for the store: this user has no home (HOME is not set, and no file lists the user)."
            " Choose one with --store or MIBENCH_STORE."
        )
    return home / ".cache" / "mibench"


class Store:
    """Artifacts by key.

    Args:
        root: folder to write to; made if needed.
        layers: read-only folders ``<layer>/<any name>/manifest.json`` searched after ``root``.

    Raises:
        StoreError: if the folder cannot be written, or has another layout than this mibench uses.
    """

    def __init__(self, root: Path, layers: Sequence[Path] = ()) -> None:
        self.layers = list(layers)
        self._verified: dict[str, Artifact] = {}
        self._stuck: set[Path] = set()
        self._shipped = _index(layers)
        self.root = root
        try:
            self.root = root.resolve()
            if (self.root / "artifacts").exists():
                require_current(self.root)
            else:  # the marker first: what has artifacts and no marker is of the first layout
                write_marker(self.root, Marker(layout.LAYOUT))
            for name in ("artifacts", "work", "locks", "damaged"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
            raise self._unwritable(error) from error
        self.locks = Locks(self.root / "locks")

    def require_writable(self) -> None:
        """Raise :class:`StoreError` if nothing can be added; reading works without."""
        try:
            self.locks.probe()
        except OSError as error:
            raise self._unwritable(error) from error

    def tidy(self) -> None:
        """Remove the drafts of processes that were killed; a live one holds the lock of its key."""
        for key, draft in drafts(self.root / "artifacts"):
            try:
                with self.locks.hold(f"{key}.lock", wait=False) as gone:
                    if gone:
                        shutil.rmtree(draft, ignore_errors=True)
            except OSError:  # somebody else's, and none of our business
                continue

    def _unwritable(self, error: OSError | RuntimeError) -> StoreError:
        why = (
            reason(error, self.root, "--store")
            if isinstance(error, OSError)
            else f"{error}. Choose another with --store"
        )
        return StoreError(f"cannot write to the store {self.root}: {why}.")

    def find(self, stage: str, key: str) -> Artifact | None:
        """Return a committed artifact whose checksums hold, else ``None``.

        A damaged artifact is moved to ``damaged/`` so that it will be made again.

        Raises:
            StoreError: if it is there and cannot be read, or if one that a plugin ships is damaged.
        """
        if key in self._verified:
            return self._verified[key]
        artifact = self._own(stage, key)
        if artifact is not None:
            # Left behind by a process that was killed right after it had committed.
            shutil.rmtree(self.root / "work" / key, ignore_errors=True)
            return self._remember(artifact)
        return self._remember(self._ready_made(key)) if key in self._shipped else None

    def get(self, stage: str, key: str) -> Artifact:
        """Return an artifact that must exist.

        Raises:
            StoreError: if it does not.
        """
        artifact = self.find(stage, key)
        if artifact is None:
            raise StoreError(f"the {stage} artifact {key[:12]} is not in the store {self.root}")
        return artifact

    def is_shipped(self, artifact: Artifact) -> bool:
        """Tell whether an artifact comes from a read-only layer."""
        return not artifact.path.is_relative_to(self.root)

    def has_checkpoint(self, key: str) -> bool:
        """Tell whether an artifact was begun and can perhaps be continued."""
        return has_checkpoint(self.root / "work" / key)

    def checkpoint_stamp(self, key: str) -> dict[str, Any]:
        """Return what made the checkpoints of an unfinished artifact; empty if that is not known."""
        return read_stamp(self.root / "work" / key)

    def work(self, key: str) -> Path:
        """Return the folder for checkpoints of an unfinished artifact; it survives a crash."""
        return make_folder(self.root / "work" / key, self.root / "damaged")

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the right to make an artifact; released if the process dies, however it dies.

        Raises:
            StoreError: if the lock's file cannot be made or opened, or the store is being migrated meanwhile.
        """
        name = f"{key}.lock"
        place = self.root / "locks" / name
        with saving(f"the lock of {key[:12]}", self.root, ours=True):
            if place.is_symlink() or (exists(place) and not place.is_file()):
                set_aside(place, self.root / "damaged", "it was where a lock file belongs")
            held = ExitStack()
            held.enter_context(self.locks.hold(name))
        with held:
            require_current(self.root)  # a migration sets its marker before it looks at locks
            yield

    @contextmanager
    def commit(self, stage: str, key: str, payload: Mapping[str, Any], meta: dict[str, Any]) -> Iterator[Path]:
        """Yield an empty folder; on success it becomes the artifact in one rename and the checkpoints go.

        The caller holds the key's lock.

        Raises:
            StoreError: if files cannot be written; nothing half-written is ever visible.
        """
        what, place = f"the {stage} artifact {key[:12]}", self._folder(stage, key)
        with saving(what, self.root, ours=True):
            make_folder(place.parent, self.root / "damaged")
            self._clear(stage, key)
            draft = make_draft(place)
        try:
            with saving(what, self.root, ours=False):
                yield draft
            with saving(what, self.root, ours=True):
                write_manifest(draft, key=key, stage=stage, payload=payload, meta=meta)
                share(draft, draft.rglob("*"))
                flush(draft)
                if not self._clear(stage, key):
                    draft.rename(place)
                    sync_folder(place.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def _folder(self, stage: str, key: str) -> Path:
        return self.root / "artifacts" / stage / key

    def _remember(self, artifact: Artifact) -> Artifact:
        self._verified[artifact.key] = artifact
        return artifact

    def _own(self, stage: str, key: str) -> Artifact | None:
        """Return the artifact of the root, or set aside what is in its place; say so where that is impossible."""
        folder = self._folder(stage, key)
        try:
            if not exists(folder):
                return None
            problem, artifact = inspect(folder, key)
        except OSError as error:
            raise unreadable(folder, self.root, error) from error
        if artifact is not None:
            return artifact
        try:
            set_aside(folder, self.root / "damaged", problem)
        except OSError as error:
            if folder not in self._stuck:
                why = reason(error, self.root, "--store")
                _log.warning(
                    "%s is damaged: %s. It counts as missing; it cannot be set aside: %s.", folder, problem, why
                )
            self._stuck.add(folder)
        return None

    def _ready_made(self, key: str) -> Artifact:
        folder = self._shipped[key]
        try:
            problem, artifact = inspect(folder, key)
        except OSError as error:
            raise StoreError(
                f"cannot read {error.filename or folder}, which a plugin ships: {error.strerror}"
            ) from error
        if artifact is None:
            raise StoreError(f"the shipped artifact {folder.name} is damaged: {problem}. Reinstall its plugin.")
        return artifact

    def _clear(self, stage: str, key: str) -> bool:
        """Make room for an artifact; tell whether somebody has put it there by now. ``OSError`` if it cannot."""
        folder = self._folder(stage, key)
        if not exists(folder):
            return False
        if self._own(stage, key) is not None:
            return True
        if exists(folder):
            set_aside(folder, self.root / "damaged", "it was damaged")
        return False


def _index(layers: Sequence[Path]) -> dict[str, Path]:
    found = {}
    for layer in layers:
        for manifest in sorted(layer.glob(f"*/{MANIFEST}")):
            try:
                found[read_artifact(manifest.parent).key] = manifest.parent
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StoreError(f"the shipped artifact {manifest.parent} cannot be read: {error}") from error
    return found
