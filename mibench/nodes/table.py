"""All stages, by name: every module of this folder that defines one."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import mibench.nodes
from mibench.api.errors import unknown
from mibench.nodes.inputs import KNOWN, Inputs


def stages() -> Mapping[str, type[Inputs]]:
    """Return the inputs of every stage, by the stage's name."""
    _import_all()
    return KNOWN


def stage(name: str) -> type[Inputs]:
    """Return the inputs of one stage.

    Raises:
        UsageError: if there is no such stage.
    """
    found = stages().get(name)
    if found is None:
        raise unknown("stage", name, KNOWN)
    return found


def read_inputs(payload: Mapping[str, Any]) -> Inputs:
    """Return the inputs that a payload states, whatever its stage.

    Raises:
        UsageError: if there is no such stage.
        MibenchError: if it is not a payload that this version writes.
    """
    return stage(str(payload.get("stage"))).read(payload)


def function_of(inputs: type[Inputs]) -> Callable[[Any], None]:
    """Import what does a stage's work; that imports torch."""
    module, _, name = inputs.run.partition(":")
    found: Callable[[Any], None] = getattr(importlib.import_module(module), name)
    return found


@functools.cache
def _import_all() -> None:
    for found in pkgutil.iter_modules(mibench.nodes.__path__, "mibench.nodes."):
        importlib.import_module(found.name)
