"""Whose checkpoints a stage's folder holds: they are used only by the code that wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mibench.base.files import write_atomic
from mibench.store.stamp import STAMP, differing, read_stamp
from mibench.training.checkpoints import ASIDE, set_aside


def claim(work: Path, stamp: Mapping[str, Any]) -> None:
    """Let a stage use its folder of checkpoints: those that were made otherwise than ``stamp`` says are set aside.

    Args:
        work: the folder.
        stamp: what made the checkpoints to come: source code, versions, device, inputs.
    """
    left = [path for path in sorted(work.iterdir()) if path.name not in (STAMP, ASIDE)]
    found = read_stamp(work)
    other = differing(found, stamp)
    if left and other:
        set_aside(left, f"it was made by other {', '.join(other)}" if found else "it does not say what made it")
    if other:
        write_atomic(work / STAMP, json.dumps(stamp, indent=1, sort_keys=True).encode() + b"\n")
