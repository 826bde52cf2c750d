"""One sentence for whatever came out of a stage."""

from __future__ import annotations

import traceback

from mibench.api.errors import MibenchError
from mibench.nodes.node import Node


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
    charged = node.inputs.in_charge() if node else None
    owner = f"{charged[0]} {charged[1].name!r}" if charged else "a component"
    return f"{owner} tried to end the program instead of raising an error: {what}"
