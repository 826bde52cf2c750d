"""The referee of model inversion: run defenses against attacks under frozen protocols.

``mibench.run(defenses=["atat"], attacks=["ppa"])`` does what ``mibench run --defense atat --attack ppa`` does.
"""

from __future__ import annotations

import importlib
import os

from mibench.base.version import __version__

# A tool that measures privacy reports nobody's use of it. Read when the libraries are imported, so set before any of
# them is: onnxruntime would write a device identifier and a queue of events to the user's cache folder.
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")

TYPE_CHECKING = False  # as typing has it, which a file in the working folder could stand in for: see __main__
if TYPE_CHECKING:
    from typing import Any

    from mibench.protocol.request import Request
    from mibench.results.io import load_record
    from mibench.results.record import Record
    from mibench.session.run import RunResult, plan_request, run
    from mibench.study.run import StudyResult, run_study

__all__ = [
    "Record",
    "Request",
    "RunResult",
    "StudyResult",
    "__version__",
    "load_record",
    "plan_request",
    "run",
    "run_study",
]

_LAZY = {
    "Record": "mibench.results.record",
    "Request": "mibench.protocol.request",
    "RunResult": "mibench.session.run",
    "StudyResult": "mibench.study.run",
    "load_record": "mibench.results.io",
    "plan_request": "mibench.session.run",
    "run": "mibench.session.run",
    "run_study": "mibench.study.run",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mibench' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
