"""Weights that users bring: read as tensors and plain values only, nothing of a file is run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mibench.api.errors import DataError
from mibench.api.files import sha256_of_file


def read_plain(path: str, *, sha256: str = "") -> Any:
    """Read what ``torch.save`` or safetensors wrote, as tensors and plain values only (``weights_only=True``).

    Args:
        path: the file; ``~`` is expanded.
        sha256: hexadecimal digest that the file must have; empty checks nothing.

    Returns:
        What it holds, tensors on the CPU.

    Raises:
        DataError: if the file is missing, has another digest, is damaged or holds anything else.
    """
    file = _ordinary(path)
    if file is None:
        raise DataError(
            f"weights file {path!r} does not exist. Give the path of a state dict, or"
            " weights=none; for a file that torchvision publishes: mibench data import-torchvision FILE.pth"
        )
    try:
        if sha256 and (got := sha256_of_file(file)) != sha256:
            raise DataError(f"weights file {path!r} has sha256 {got}, expected {sha256}. Fetch the right file again.")
        if file.suffix[1:] == "safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"weights file {path!r} cannot be read: {error.strerror or error}.") from error
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        raise DataError(
            f"weights file {path!r} cannot be read as tensors only ({_reason(error)}). Expected a plain state dict in"
            " .safetensors, or in .pth as torch.save(network.state_dict(), path) writes it."
        ) from error


def read_state(path: str, *, sha256: str = "") -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from ``.pth``/``.pt`` with ``weights_only=True``.

    Args:
        path: the file; ``~`` is expanded.
        sha256: hexadecimal digest that the file must have; empty checks nothing.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        DataError: if the file is missing, has another digest, is damaged or holds anything but tensors.
    """
    state = read_plain(path, sha256=sha256)
    if not is_state(state):
        raise DataError(
            f"weights file {path!r} holds more than a state dict. Expected names and tensors, as torch.save("
            "network.state_dict(), path) writes them; save the state dict alone."
        )
    return dict(state)


def is_state(found: Any) -> bool:
    """Tell whether something is a state dict: tensors by name, and nothing else."""
    return isinstance(found, Mapping) and all(isinstance(value, Tensor) for value in found.values())


def unreadable(path: str, *, sha256: str = "") -> list[str]:
    """Return why :func:`read_state` would refuse a file; empty if it would not.

    A file is read once, however many networks of a plan start from it.
    """
    file = _ordinary(path)
    if file is None:
        return list(_unreadable.__wrapped__(path, sha256, 0, 0))
    stat = file.stat()
    return list(_unreadable(path, sha256, stat.st_mtime_ns, stat.st_size))


def _reason(error: Exception) -> str:
    """Return what a reader found, in one line and without torch's advice to run the file's code instead."""
    told = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    told = " ".join(told.partition("Check the documentation")[0].split())
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _ordinary(path: str) -> Path | None:
    try:
        file = Path(path).expanduser()
        return file if file.is_file() else None
    except (RuntimeError, ValueError):  # somebody's home that is not known, a zero byte
        return None


@lru_cache(maxsize=64)
def _unreadable(path: str, sha256: str, changed: int, size: int) -> tuple[str, ...]:
    try:
        read_state(path, sha256=sha256)
    except DataError as error:
        return (str(error),)
    return ()
