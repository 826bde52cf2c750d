"""Pixels of images that are too many for memory: written a few at a time, then mapped.

The file is safetensors with one tensor, ``pixels``: uint8 (N, C, H, W). While it is being made it lies in the folder
for checkpoints, and what is in it is not made again.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import torch
from torch import Tensor

from mibench.api.data import ImageSet
from mibench.api.errors import MibenchError
from mibench.nodes.data import DataFiles
from mibench.stages.files import header
from mibench.store.drafts import share
from mibench.training.checkpoints import load_json, save_json
from mibench.training.loop import Progress

CHUNK = 64
"""Images that are in memory at once."""
SAVED_EVERY = 16
"""Chunks between two notes of how far the file is."""


def write_pixels(images: ImageSet, shape: tuple[int, int, int], work: Path, path: Path, progress: Progress) -> None:
    """Write the pixels of all images, continuing where an earlier try stopped.

    Args:
        images: what to write; each image is asked for once.
        shape: C, H and W.
        work: folder for checkpoints.
        path: the file to make, on the same file system.
        progress: is told images that are written.

    Raises:
        MibenchError: if the set delivers images of another shape.
    """
    unfinished, note = DataFiles(work).pixels, work / "pixels.json"
    begin, each, total = header([], "pixels", (len(images), *shape)), shape[0] * shape[1] * shape[2], len(images)
    done = _resume(unfinished, note, len(begin), each)
    with unfinished.open("r+b" if done else "wb") as file:
        if not done:
            file.write(begin)
        file.seek(len(begin) + done * each)
        file.truncate()
        for number, indices_B in enumerate(torch.arange(done, total).split(CHUNK)):
            file.write(_batch(images, indices_B, shape).numpy().data)
            done += len(indices_B)
            if number % SAVED_EVERY == SAVED_EVERY - 1 and done < total:
                _flush(file.fileno())
                save_json(note, {"images": done})
            progress(done, total, "images", {})
        file.flush()
    unfinished.replace(path)
    share(path.parent, [path])


def map_pixels(path: Path) -> Tensor:
    """Return the pixels of such a file, uint8 (N, C, H, W), mapped into memory: only what is looked at is read."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        shape = json.loads(file.read(length))["pixels"]["shape"]
    if 0 in shape:
        return torch.empty(shape, dtype=torch.uint8)
    size = path.stat().st_size
    mapped: Tensor = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return mapped[8 + length :].view(shape)


def _batch(images: ImageSet, indices_B: Tensor, shape: tuple[int, int, int]) -> Tensor:
    pixels_BCHW = images.pixels(indices_B)
    if tuple(pixels_BCHW.shape) != (len(indices_B), *shape) or pixels_BCHW.dtype != torch.uint8:
        got = f"{pixels_BCHW.dtype} {tuple(pixels_BCHW.shape)}"
        raise MibenchError(f"the dataset delivered {got}; expected uint8 {(len(indices_B), *shape)}")
    return pixels_BCHW.contiguous()


def _resume(unfinished: Path, note: Path, header: int, each: int) -> int:
    """Return how many images of the unfinished file can be kept."""
    saved = load_json(note) or {}
    done = saved.get("images", 0)
    kept = isinstance(done, int) and unfinished.is_file() and unfinished.stat().st_size >= header + done * each
    return done if kept else 0


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)
