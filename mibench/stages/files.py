"""Tensors on disk, as safetensors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from mibench.store.drafts import share


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, contiguous and on the CPU, readable for whom the folder is.

    Raises:
        OSError: if the disk refuses.
    """
    try:
        save_file(_plain(tensors), path)
    except SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    share(path.parent, [path])


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return what :func:`save_tensors` would write."""
    content: bytes = save(_plain(tensors))
    return content


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors onto the CPU."""
    loaded: dict[str, Tensor] = load_file(path)
    return loaded


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
