"""Folders that people name: ``~`` is somebody's home, and an empty name is no folder."""

from __future__ import annotations

import os
from pathlib import Path

from mibench.api.errors import UsageError


def named_folder(name: str | os.PathLike[str], what: str) -> Path:
    """Return the folder that an option, a variable or a file names.

    Args:
        name: what was given; ``~`` and ``~somebody`` at its start are replaced.
        what: what gave it, e.g. ``"--store"``.

    Raises:
        UsageError: if the name is empty, or begins with the home of somebody who has none.
    """
    text = os.fspath(name)
    if not text.strip():
        raise UsageError(f"{what}: expected a folder, got an empty name; write . for the current folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{what}: {text!r} begins with a home folder that is not known here; write it out") from None


def home_folder() -> Path | None:
    """Return the user's home; ``None`` where there is none, as in a container with a user that no file lists."""
    try:
        return Path.home()
    except RuntimeError:
        return None
