"""What the contract suites share: a failing requirement, watching global state, comparing tensors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raise an ``AssertionError`` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


@contextmanager
def global_rng_untouched(what: str) -> Iterator[None]:
    """Fail if the block moves a global generator of ``random``, numpy or torch.

    Args:
        what: who is being watched, for the message.

    Raises:
        AssertionError: naming the generator that moved.
    """
    before = _global_states()
    yield
    after = _global_states()
    for name, state in before.items():
        require(state == after[name], f"{what} moved the global generator of {name}; draw from a generator of your own")


def _global_states() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - it is the legacy global state that must stay untouched
    return {
        "random": random.getstate(),
        "numpy": (name, np.asarray(keys).tobytes(), *rest),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def same_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Tell whether two state dictionaries hold the same names and bit-equal values."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def snapshot(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dictionary, so that it can be compared later."""
    return {name: value.detach().clone() for name, value in state.items()}


def largest_difference(first: Tensor, second: Tensor) -> float:
    """Return the largest absolute difference of two tensors of one shape; infinite if the shapes differ."""
    if first.shape != second.shape:
        return float("inf")
    return (first.double() - second.double()).abs().max().item() if first.numel() else 0.0
