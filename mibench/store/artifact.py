"""One artifact: a folder of files with a manifest that says what it is and what its bytes are."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mibench.api.files import sha256_of_file
from mibench.base.canonical import digest
from mibench.store import layout
from mibench.store.layout import manifest_now

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A committed artifact.

    Attributes:
        path: its folder.
        key: the key it was stored under.
        stage: the stage that made it.
        payload: the inputs that the key is the digest of.
        files: name to sha256.
        content: digest over ``files``: what the artifact *is*, however it was made.
        meta: seconds, environment; not part of any digest.
    """

    path: Path
    key: str
    stage: str
    payload: Mapping[str, Any]
    files: Mapping[str, str]
    content: str
    meta: Mapping[str, Any]

    def file(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.path / name

    def json(self, name: str) -> Any:
        """Read one of its JSON files."""
        return json.loads(self.file(name).read_text(encoding="utf-8"))


def describe_folder(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in sorted(files)}


def write_manifest(folder: Path, *, key: str, stage: str, payload: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write the manifest of a finished folder."""
    files = describe_folder(folder)
    manifest = {
        "store_version": layout.LAYOUT,
        "key": key,
        "stage": stage,
        "payload": payload,
        "files": files,
        "content": digest(files),
        "meta": meta,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_artifact(folder: Path) -> Artifact:
    """Read a manifest.

    Raises:
        StoreError: if it is of a newer layout.
        ValueError: if it is no manifest; so do ``OSError``, ``KeyError`` and ``TypeError``.
    """
    raw = manifest_now(json.loads((folder / MANIFEST).read_text(encoding="utf-8")), folder)
    return Artifact(folder, raw["key"], raw["stage"], raw["payload"], raw["files"], raw["content"], raw.get("meta", {}))


def inspect(folder: Path, key: str) -> tuple[str, Artifact | None]:
    """Read an artifact and check its bytes.

    Returns:
        What is wrong with it, and ``None``; or an empty text and the artifact.

    Raises:
        OSError: if it is there and cannot be read, which says nothing about its bytes.
        StoreError: if it is of a newer layout, which does not either.
    """
    try:
        artifact = read_artifact(folder)
        problem = damage(artifact, key)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        return f"it is incomplete: {error}", None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its manifest cannot be read: {error}", None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return f"it is a link to itself: {error}", None
    return problem, None if problem else artifact


def damage(artifact: Artifact, key: str) -> str:
    """Say what is wrong with an artifact's bytes; empty if they are what the manifest promises."""
    if artifact.key != key or digest(artifact.payload) != key:
        return f"it was stored for key {artifact.key[:12]}, not {key[:12]}"
    if digest(artifact.files) != artifact.content:
        return "its manifest was edited"
    for name, expected in artifact.files.items():
        path = artifact.file(name)
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of_file(path) != expected:
            return f"{name} does not have the checksum that was recorded"
    return ""
