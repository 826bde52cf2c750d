"""What a disk or its permissions refuse, in sentences that say what to do about it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mibench.api.errors import StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC})
REFUSED = frozenset({errno.EACCES, errno.EPERM})
DISK = FULL | {errno.EROFS, errno.EIO}
"""Errors that come from a disk and never from what is written to it."""


def reason(error: OSError, root: Path, option: str) -> str:
    """Say why a folder refuses and what helps.

    Args:
        error: what the system said.
        root: the folder that was to be read or written.
        option: how another one is chosen, e.g. ``"--store"``.
    """
    said = error.strerror or str(error)
    if error.errno in FULL:
        return f"{said} ({_free(root)} free in {root}). Free some space there, or choose another with {option}"
    if error.errno in REFUSED:
        owner = _owner(Path(error.filename or root))
        return f"{said}. {owner}; who owns it can share it: chmod -R g+rwX {root}. Or choose another with {option}"
    return f"{said}. Choose another with {option}"


def disk_trouble(error: OSError) -> str:
    """Say what a disk refused, where nothing is known of what was to be written; empty for other errors."""
    if error.errno not in DISK:
        return ""
    where = f"{error.filename}: " if error.filename else ""
    help_ = "Free some space there" if error.errno in FULL else "Write to another disk"
    return f"{where}{error.strerror}. {help_}, then give the same command again."


@contextmanager
def saving(what: str, root: Path, *, ours: bool) -> Iterator[None]:
    """Explain what goes wrong while something is saved below ``root``.

    Args:
        what: e.g. ``"the target artifact 0123456789ab"``.
        root: the store.
        ours: whether every error of the system within is one of saving; else only those of the disk, and those of
            permissions within ``root``: a stage opens files of others too, and theirs are not our trouble.

    Raises:
        StoreError: instead of ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if not (ours or error.errno in DISK or (error.errno in REFUSED and _inside(error, root))):
            raise
        raise StoreError(
            f"cannot save {what}: {reason(error, root, '--store')}; the same command then continues"
        ) from error


def unreadable(path: Path, root: Path, error: OSError) -> StoreError:
    """Return the error for an artifact that is there and cannot be read: nobody knows whether it is damaged."""
    return StoreError(
        f"cannot read {error.filename or path} in the store: {reason(error, root, '--store')}. Nothing was changed."
    )


def _inside(error: OSError, root: Path) -> bool:
    return isinstance(error.filename, str) and Path(error.filename).is_relative_to(root)


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB"
    except OSError:
        return "an unknown amount"


def _owner(path: Path) -> str:
    """Describe who owns a path, or the nearest folder above it that can be looked at."""
    for place in (path, *path.absolute().parents):
        try:
            found = place.stat()
        except OSError:
            continue
        try:
            name = place.owner()
        except (KeyError, OSError, NotImplementedError):
            name = f"user {found.st_uid}"
        me = f"user {os.geteuid()}" if hasattr(os, "geteuid") else "another user"
        return f"{place} belongs to {name} with mode {stat.S_IMODE(found.st_mode):o}, and this is {me}"
    return f"{path} cannot be looked at"
