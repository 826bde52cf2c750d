"""Setting aside what is damaged or in the way: it is moved, never deleted, with a note that says why."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path


def exists(path: Path) -> bool:
    """Tell whether something has this name, be it a link to nowhere. Raises ``OSError`` if nobody may know."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def set_aside(path: Path, damaged: Path, problem: str) -> None:
    """Move a file or folder into a new folder of ``damaged``.

    Args:
        path: what to move.
        damaged: folder for such things.
        problem: what is wrong with it; it is written beside it.

    Raises:
        OSError: if it cannot be moved.
    """
    place = damaged / f"{path.name[:12]}-{secrets.token_hex(4)}"
    place.mkdir()
    try:
        with contextlib.suppress(FileNotFoundError):  # another process found the damage at the same time
            shutil.move(path, place / "artifact")
    except OSError:
        place.rmdir()
        raise
    (place / "reason.txt").write_text(problem + "\n", encoding="utf-8")


def make_folder(path: Path, damaged: Path) -> Path:
    """Make a folder unless it is there; what has its name and is no folder is set aside.

    Raises:
        OSError: if it cannot be made.
    """
    if exists(path) and not path.is_dir():
        set_aside(path, damaged, "it was where a folder belongs")
    path.mkdir(parents=True, exist_ok=True)
    return path
