"""The store: content-addressed artifacts, committed atomically, safe to share between processes.

Layout: ``<root>/artifacts/<stage>/<key>/`` holds committed artifacts, ``work/<key>/`` checkpoints of unfinished ones,
``locks/`` one lock file per key, ``damaged/`` what failed its checksum. Lower layers are read-only folders of
ready-made artifacts that plugins ship.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from mibench.api.errors import StoreError
from mibench.store.artifact import MANIFEST, Artifact, damage, read_artifact, write_manifest


def default_root() -> Path:
    """Return the user's store: ``$MIBENCH_STORE``, else ``mibench`` in the user's cache folder."""
    chosen = os.environ.get("MIBENCH_STORE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mibench"


class Store:
    """Artifacts by key.

    Args:
        root: folder to write to; made if needed.
        layers: read-only folders ``<layer>/<any name>/manifest.json`` searched after ``root``.

    Raises:
        StoreError: if the folder cannot be written.
    """

    def __init__(self, root: Path, layers: Sequence[Path] = ()) -> None:
        self.root = root.resolve()
        self.layers = list(layers)
        self._verified: dict[str, Artifact] = {}
        self._shipped = _index(layers)
        try:
            for name in ("artifacts", "work", "locks", "damaged"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def require_writable(self) -> None:
        """Raise :class:`StoreError` if nothing can be added; reading works without."""
        try:
            with tempfile.TemporaryFile(dir=self.root / "locks"):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write to the store {self.root}: {error}. Choose another with --store.")

    def find(self, stage: str, key: str) -> Artifact | None:
        """Return a committed artifact whose checksums hold, else ``None``.

        A damaged artifact is moved to ``damaged/`` so that it will be made again.
        """
        if key in self._verified:
            return self._verified[key]
        folder = self._folder(stage, key)
        if folder.is_dir():
            problem, artifact = _inspect(folder, key)
            if artifact is not None:
                # Left behind by a process that was killed right after it had committed.
                shutil.rmtree(self.root / "work" / key, ignore_errors=True)
                return self._remember(artifact)
            self._quarantine(folder, key, problem)
        if key in self._shipped:
            problem, artifact = _inspect(self._shipped[key], key)
            if artifact is not None:
                return self._remember(artifact)
            raise StoreError(
                f"the shipped artifact {self._shipped[key].name} is damaged: {problem}. Reinstall its plugin."
            )
        return None

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

    def work(self, key: str) -> Path:
        """Return the folder for checkpoints of an unfinished artifact; it survives a crash."""
        folder = self.root / "work" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the right to make an artifact; released by the system if the process dies."""
        with FileLock(self.root / "locks" / f"{key}.lock"):
            yield

    @contextmanager
    def commit(self, stage: str, key: str, payload: Mapping[str, Any], meta: dict[str, Any]) -> Iterator[Path]:
        """Yield an empty folder; on success it becomes the artifact in one rename and the checkpoints go.

        Raises:
            StoreError: if files cannot be written; nothing half-written is ever visible.
        """
        place = self._folder(stage, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{key[:12]}-", dir=place.parent))
        try:
            yield draft
            write_manifest(draft, key=key, stage=stage, payload=payload, meta=meta)
            _sync(draft)
            if not place.exists():
                draft.rename(place)
        except OSError as error:
            raise StoreError(f"cannot save the {stage} artifact {key[:12]}: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def _folder(self, stage: str, key: str) -> Path:
        return self.root / "artifacts" / stage / key

    def _remember(self, artifact: Artifact) -> Artifact:
        self._verified[artifact.key] = artifact
        return artifact

    def _quarantine(self, folder: Path, key: str, problem: str) -> None:
        place = Path(tempfile.mkdtemp(prefix=f"{key[:12]}-", dir=self.root / "damaged"))
        with contextlib.suppress(FileNotFoundError):  # another process found the damage at the same time
            folder.rename(place / "artifact")
        (place / "reason.txt").write_text(problem + "\n", encoding="utf-8")


def _inspect(folder: Path, key: str) -> tuple[str, Artifact | None]:
    try:
        artifact = read_artifact(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its manifest cannot be read: {error}", None
    problem = damage(artifact, key)
    return problem, None if problem else artifact


def _index(layers: Sequence[Path]) -> dict[str, Path]:
    found = {}
    for layer in layers:
        for manifest in sorted(layer.glob(f"*/{MANIFEST}")):
            try:
                found[read_artifact(manifest.parent).key] = manifest.parent
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StoreError(f"the shipped artifact {manifest.parent} cannot be read: {error}") from error
    return found


def _sync(folder: Path) -> None:
    """Flush files and folder to disk before the rename makes them visible."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
