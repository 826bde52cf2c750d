"""Artifacts on their way: hidden folders beside their place, with the rights that the umask gives, flushed to disk."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from mibench.base.files import sync_folder

_DRAFT = re.compile(r"\.([0-9a-f]{64})-[0-9a-f]+")


def make_draft(place: Path) -> Path:
    """Make an empty draft of the artifact that ``place`` will hold.

    Drafts of the same key that are there already belong to processes that were killed, because the caller holds the
    key's lock; they go.
    """
    for stale in place.parent.glob(f".{place.name[:12]}*"):
        shutil.rmtree(stale, ignore_errors=True)
    draft = place.parent / f".{place.name}-{secrets.token_hex(4)}"
    draft.mkdir()  # not tempfile's: that makes folders which only their owner can read
    return draft


def drafts(artifacts: Path) -> Iterator[tuple[str, Path]]:
    """Yield key and folder of every draft in a store."""
    for draft in artifacts.glob("*/.*"):
        if match := _DRAFT.fullmatch(draft.name):
            yield match[1], draft


def share(folder: Path, paths: Iterable[Path]) -> None:
    """Give what is in a folder at least the rights of the folder, whose maker's umask decided them.

    Libraries make files that only their owner can read; a store may belong to a group.
    """
    given = stat.S_IMODE(folder.stat().st_mode)
    for inner in paths:
        if inner.is_symlink():
            continue
        mode = stat.S_IMODE(inner.stat().st_mode)
        wanted = mode | (given if inner.is_dir() else given & 0o666)
        if mode != wanted:
            with contextlib.suppress(PermissionError, NotImplementedError):  # file systems without such rights
                inner.chmod(wanted)


def flush(folder: Path) -> None:
    """Bring the files of a folder to disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b" if os.name == "nt" else "rb") as file:  # Windows flushes what may be written only
                os.fsync(file.fileno())
