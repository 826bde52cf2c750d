"""What made the checkpoints of an unfinished artifact, as a file beside them says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STAMP = "made_by.json"
"""File beside checkpoints that says what made them."""


def has_checkpoint(work: Path) -> bool:
    """Tell whether a folder holds a checkpoint: a whole file beside the one that says what made it."""
    return any(path.is_file() and path.name != STAMP and path.suffix != ".tmp" for path in work.glob("*"))


def read_stamp(work: Path) -> dict[str, Any]:
    """Return what made the checkpoints of a folder; empty if that is not known."""
    try:
        found = json.loads((work / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of ``wanted`` under which ``found`` states something else, or nothing."""
    return [name for name, value in wanted.items() if found.get(name) != value]
