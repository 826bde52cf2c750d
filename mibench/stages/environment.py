"""What a stage computes with, as it enters the artifact's manifest: no host names, users or paths."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

from mibench.base.version import __version__

PACKAGES = ("torchvision", "numpy", "kornia", "pyautoattack", "onnxruntime", "safetensors")
"""Packages whose version may change a number, beside torch and mibench."""


def describe(device: torch.device) -> dict[str, Any]:
    """Describe this process as plain JSON: versions, platform, device, threads, precision."""
    on_gpu = device.type == "cuda"
    return {
        "mibench": __version__,
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "cuda": torch.version.cuda if on_gpu else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": "float32, TF32 off",
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
