"""What a result was made with: packages, threads, device, precision."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

from mibench.execute.contract import cpu_threads
from mibench.stages.run import pick_device

PACKAGES = ("mibench", "torch", "torchvision", "numpy", "kornia", "pyautoattack", "onnxruntime", "safetensors")


def environment(device: str) -> dict[str, Any]:
    """Describe the environment as plain JSON; no host names, users or paths."""
    chosen = pick_device(device)
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
        "cuda": torch.version.cuda if chosen.type == "cuda" else None,
        "cores": os.cpu_count(),
        "threads": cpu_threads(),
        "precision": "float32, TF32 off",
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
