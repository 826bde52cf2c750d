"""What was seen of files, kept so that an interrupted look at many of them continues where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mibench_datasets.pictures.examine import Verdict

VERSION = 1


class Journal:
    """A text file with a line for each file that was looked at.

    A line holds for a path, a size and a time of change; a file that has another now is looked at again.

    Args:
        path: of the text file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._known = path, dict[str, Any]()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            return
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            try:
                found = json.loads(line)
                if found["version"] == VERSION:
                    self._known[found["file"]] = found
            except (ValueError, KeyError, TypeError):  # the last line of a process that was killed
                continue

    def recall(self, path: Path, exif: bool) -> tuple[str, Verdict] | None:
        """Return digest and verdict of a file as it is now; ``None`` if it was not looked at."""
        found = self._known.get(_name(path, exif))
        if found is None or found["state"] != _state(path):
            return None
        verdict = found["verdict"]
        return found["sha256"], Verdict(verdict["fault"], tuple(verdict["conversions"]), tuple(verdict["size"]))

    def keep(self, seen: Mapping[Path, tuple[str, Verdict]], exif: bool) -> None:
        """Write what was seen."""
        lines = [
            json.dumps(
                {
                    "version": VERSION,
                    "file": _name(path, exif),
                    "state": _state(path),
                    "sha256": sha256,
                    "verdict": asdict(verdict),
                }
            )
            for path, (sha256, verdict) in seen.items()
        ]
        if lines:
            with self._path.open("a", encoding="ascii") as file:
                file.write("\n".join(["", *lines, ""]))


def _name(path: Path, exif: bool) -> str:
    return f"{path}{'' if exif else ' as stored'}"


def _state(path: Path) -> Sequence[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
