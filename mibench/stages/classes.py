"""Checkpoints of an attack: two files for each class, one with the images and one that seals both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from mibench.base.files import write_atomic
from mibench.nodes.reconstruct import ReconstructWork
from mibench.stages.files import tensor_bytes
from mibench.training.checkpoints import load_json, read, save_json, set_aside


@dataclass(frozen=True)
class ClassCheckpoint:
    """An attacked class.

    Attributes:
        info: ``label``, ``spent``, ``trace``, and ``failed`` with the reason of a class without images.
        tensors: ``images``, uint8 (N, C, H, W), and ``scores`` (N,); empty for a class that failed.
    """

    info: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def save_class(work: Path, info: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write a class that is done; ``tensors`` are its images and scores, if it has any."""
    files, label = ReconstructWork(work), info["label"]
    if tensors is None:
        save_json(files.info(label), dict(info))
        return
    content = tensor_bytes(tensors)
    write_atomic(files.images(label), content)
    # Last: it says that the class is done, and what the other file must be.
    save_json(files.info(label), {**info, "images": hashlib.sha256(content).hexdigest()})


def load_class(work: Path, label: int) -> ClassCheckpoint | None:
    """Return a class that is done; ``None`` if it must be attacked, or again, since its files do not hold."""
    files = ReconstructWork(work)
    info = load_json(files.info(label))
    if info is None:
        return None
    content = read(files.images(label)) if "failed" not in info else None
    problem = ""
    if info.get("label") != label:
        problem = f"it is of class {info.get('label')}"
    elif "failed" in info:
        return ClassCheckpoint(info)
    elif content is None or hashlib.sha256(content).hexdigest() != info.get("images"):
        problem = "its images are not those that were written"
    else:
        try:
            return ClassCheckpoint(info, load(content))
        except SafetensorError as error:
            problem = str(error)
    set_aside([files.info(label), files.images(label)], problem)
    return None
