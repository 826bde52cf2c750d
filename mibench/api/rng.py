"""Randomness: every draw comes from a generator derived from names, never from global state.

A seed is derived from what it is for (``derive_seed("cell", 0, "class", 7, "noise")``), so that the order of classes,
the number of workers and a restart in the middle do not change a single number.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SeedPart = str | int


def derive_seed(*parts: SeedPart) -> int:
    """Return a seed in [0, 2**63) that depends on all parts and on nothing else.

    >>> derive_seed("cell", 0, "class", 7) == derive_seed("cell", 0, "class", 7) != derive_seed("cell", 0, "class", 8)
    True
    """
    text = json.dumps(list(parts), separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: SeedPart, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator seeded from the parts.

    Draw on the CPU and move the result where numbers must be the same on every device.

    >>> first, again = (torch.rand(3, generator=generator(0, "noise", 1)) for _ in range(2))
    >>> torch.equal(first, again)
    True
    """
    made = torch.Generator(device=device)
    made.manual_seed(derive_seed(*parts))
    return made


@contextmanager
def seeded(*parts: SeedPart) -> Iterator[None]:
    """Run a block whose libraries insist on global generators, seeded from the parts, and restore them after.

    Needed for weight initialisation, dropout and kornia, which accept no generator, and for all code of components,
    which may draw wherever it likes. Covers torch, numpy and Python's ``random``.
    """
    seed = derive_seed(*parts)
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - foreign code draws from it
    try:
        with torch.random.fork_rng(devices=devices):
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
