"""The referee of model inversion: run defenses against attacks under frozen protocols.

``mibench.run(defenses=["atat"], attacks=["ppa"])`` does what ``mibench run --defense atat --attack ppa`` does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mibench.execute.run import RunResult, plan_request, run
    from mibench.protocol.request import Request
    from mibench.results.io import load_record
    from mibench.results.record import Record

__version__ = "0.1.0"
__all__ = ["Record", "Request", "RunResult", "__version__", "load_record", "plan_request", "run"]

_LAZY = {
    "Record": "mibench.results.record",
    "Request": "mibench.protocol.request",
    "RunResult": "mibench.execute.run",
    "load_record": "mibench.results.io",
    "plan_request": "mibench.execute.run",
    "run": "mibench.execute.run",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mibench' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
