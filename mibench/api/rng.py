"""Randomness: every draw comes from a generator derived from names, never from global state.

A seed is derived from what it is for (``derive_seed("cell", 0, "class", 7, "noise")``), so that the order of classes,
the number of workers and a restart in the middle do not change a single number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SeedPart = str | int


def derive_seed(*parts: SeedPart) -> int:
    """Return a seed in [0, 2**63) that depends on all parts and on nothing else."""
    text = json.dumps(list(parts), separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: SeedPart, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator seeded from the parts.

    Draw on the CPU and move the result where numbers must be the same on every device.
    """
    made = torch.Generator(device=device)
    made.manual_seed(derive_seed(*parts))
    return made


@contextmanager
def seeded(*parts: SeedPart) -> Iterator[None]:
    """Run a block whose libraries insist on torch's global generators, seeded from the parts, and restore them after.

    Needed for weight initialisation, dropout and kornia, which accept no generator.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(derive_seed(*parts))
        if devices:
            torch.cuda.manual_seed(derive_seed(*parts))
        yield
