"""One sentence for whatever came out of a stage."""

from __future__ import annotations

import traceback

from mibench.api.errors import MibenchError
from mibench.plan.node import Node

IN_CHARGE = ("metric", "attack", "prior", "defense", "model", "dataset")
"""Kinds of component, the one first that a stage is there to run."""


def explain(error: BaseException, node: Node | None = None) -> str:
    """Return one message for an error: that of mibench's own errors as it is, others with type and place.

    Args:
        error: the error.
        node: the stage that it came out of, whose component is named if it tried to end the program.
    """
    if isinstance(error, MibenchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    what = f"{type(error).__name__}: {error}{place}"
    if isinstance(error, Exception):
        return what
    kind = next((kind for kind in IN_CHARGE if node and kind in node.payload), None)
    owner = f"{kind} {node.payload[kind]['name']!r}" if node and kind else "a component"
    return f"{owner} tried to end the program instead of raising an error: {what}"
