"""Tensors on disk, as safetensors."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from mibench.store.drafts import share

_DTYPES = {torch.uint8: "U8", torch.int64: "I64", torch.float32: "F32"}


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


def save_streamed(
    path: Path, tensors: Mapping[str, Tensor], pixels: str, shape: Sequence[int], parts: Iterable[Tensor]
) -> None:
    """Write what :func:`save_tensors` would, the same bytes, without ever holding all pixels.

    Args:
        path: the file.
        tensors: what is small, none of it 8-bit.
        pixels: name of the 8-bit tensor that is large.
        shape: of it.
        parts: uint8 tensors that make it up, along the first axis.

    Raises:
        ValueError: if the parts do not add up to the shape.
        OSError: if the disk refuses.
    """
    ordered = sorted(_plain(tensors).items(), key=lambda item: (-item[1].element_size(), item[0]))
    with path.open("wb") as file:
        file.write(header([(name, tensor.dtype, tensor.shape) for name, tensor in ordered], pixels, shape))
        for _, tensor in ordered:
            file.write(tensor.numpy().tobytes())
        written = 0
        for part in parts:
            file.write(part.contiguous().numpy().data)
            written += part.numel()
    if written != prod(shape):
        raise ValueError(f"{path.name}: expected {prod(shape)} bytes of {pixels!r}, got {written}")
    share(path.parent, [path])


def header(ordered: Sequence[tuple[str, torch.dtype, Sequence[int]]], pixels: str, shape: Sequence[int]) -> bytes:
    """Return how a safetensors file begins that holds some tensors and behind them 8-bit pixels."""
    entries, end = {}, 0
    for name, dtype, own in [*ordered, (pixels, torch.uint8, shape)]:
        begin, end = end, end + prod(own) * dtype.itemsize
        entries[name] = {"dtype": _DTYPES[dtype], "shape": list(own), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


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
