"""The folder of a submission: files in their places, the text of the pull request, and a mark that lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.base.files import write_atomic

MARK = "submission.json"
TEXT = "PULL_REQUEST.md"
BOARDS = "leaderboards"
"""Folder of the new files, laid out as the leaderboards folder."""


def write_folder(out: Path, files: Mapping[str, bytes], text: str) -> list[Path]:
    """Write a submission; what an earlier one left in the folder and this one does not have is removed.

    Args:
        out: the folder; it is made if need be.
        files: content by path below the leaderboards folder.
        text: of the pull request.

    Raises:
        UsageError: if other things lie in the folder.
        OSError: if it cannot be written.
    """
    old = _old(out)
    made = {**{f"{BOARDS}/{name}": content for name, content in files.items()}, TEXT: text.encode("utf-8")}
    mark = json.dumps({"format": 1, "files": sorted(made)}, indent=1) + "\n"
    written = [write_atomic(out / name, content) for name, content in made.items()]
    written.append(write_atomic(out / MARK, mark))
    for name in old - set(made):
        (out / name).unlink(missing_ok=True)
    return written


def _old(out: Path) -> set[str]:
    """Return the files of the submission that lies in a folder already."""
    if not out.exists() or not any(out.iterdir()):
        return set()
    with suppress(OSError, ValueError, KeyError, TypeError):
        names = json.loads((out / MARK).read_text(encoding="utf-8"))["files"]
        if isinstance(names, list):
            return {name for name in names if (out / name).is_file() and _is_inside(out / name, out)}
    raise UsageError(f"{out} holds files that are no submission; choose another folder with --out")


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
