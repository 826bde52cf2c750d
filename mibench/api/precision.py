"""Numerical precision: perturbations of 1e-5 vanish in TF32 and bf16, so they are computed in strict float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch off autocast and TF32 for a block, and restore what was set before."""
    conv, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with torch.autocast(device_type=kind, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = conv, matmul
