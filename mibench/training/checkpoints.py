"""Checkpoints of unfinished work: written whole, and sealed with a checksum.

Whatever does not fit (a flipped bit, half a file, another shape) is set aside with a warning in the log,
and that part of the work begins again: a checkpoint is worth some time, and never a number that nobody can explain.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mibench.api.errors import MibenchError
from mibench.base.files import write_atomic

ASIDE = "aside"
"""Folder, beside the checkpoints, of those that were not used; it goes with them when the work is done."""

_log = logging.getLogger(__name__)


def set_aside(paths: list[Path], why: str) -> None:
    """Move checkpoints out of the way and say so in the log; without effect on paths that do not exist."""
    there = [path for path in paths if path.exists()]
    if not there:
        return
    shelf = there[0].parent / ASIDE
    place = shelf / str(len(list(shelf.iterdir())) if shelf.is_dir() else 0)
    place.mkdir(parents=True)
    for path in there:
        path.rename(place / path.name)
    names = ", ".join(path.name for path in there[:3]) + (" ..." if len(there) > 3 else "")
    _log.warning("the checkpoint %s is not used: %s. It lies in %s now, and its part begins again.", names, why, place)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values under a checksum; a crash leaves the old file or the new one, never half."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    write_atomic(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read what :func:`save_checkpoint` wrote; ``None`` if there is none, or none whose checksum holds.

    Raises:
        MibenchError: if the file is there and the system will not let it be read.
    """
    sealed = read(path)
    if sealed is None:
        return None
    checksum, _, content = sealed.partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        set_aside([path], "its checksum does not hold")
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises for what another version of it wrote
        set_aside([path], f"torch cannot read it ({type(error).__name__})")
        return None
    return state


def save_json(path: Path, value: Any) -> None:
    """Write a JSON value under its checksum, whole and on disk."""
    sealed = json.dumps({"content": value, "sha256": _sha256_json(value)}, sort_keys=True, allow_nan=False)
    write_atomic(path, sealed.encode() + b"\n")


def load_json(path: Path) -> Any:
    """Read what :func:`save_json` wrote; ``None`` and errors as of :func:`load_checkpoint`."""
    text = read(path)
    if text is None:
        return None
    try:
        sealed = json.loads(text)
        if sealed["sha256"] == _sha256_json(sealed["content"]):
            return sealed["content"]
    except (ValueError, KeyError, TypeError):
        pass
    set_aside([path], "its checksum does not hold")
    return None


def _sha256_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> bytes | None:
    """Return a file's bytes; ``None`` if there is none.

    Raises:
        MibenchError: if it is there and the system will not let it be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:  # says nothing about the checkpoint: a mount may be away, or another user may own it
        raise MibenchError(f"cannot read the checkpoint {path}: {error.strerror}; remove it to begin again") from error
