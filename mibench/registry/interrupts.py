"""Tell a real interruption from code that raises one itself, by where it was raised.

Runs of stages watch the handlers of signals instead (``mibench.execute.interrupts``), which is exact, also where a
component catches what a handler raises and raises something else. Here that cannot be: plugins are asked in any thread,
and in processes that were just begun, and handlers can be changed in the main thread alone. A plugin that is asked has
no reason to catch ``KeyboardInterrupt``, so the last frame of the traceback is enough.
"""

from __future__ import annotations

import dis
from pathlib import Path
from types import TracebackType

_RAISE = dis.opmap["RAISE_VARARGS"]
_OURS = str(Path(__file__).resolve().parents[1])


def is_interruption(error: BaseException) -> bool:
    """Tell whether somebody wants this process to end, so that no plugin is to blame.

    Ctrl-C reaches Python between two instructions, wherever it is; a plugin needs a ``raise`` of its own. What
    mibench's own signal handlers raise counts as well.
    """
    if isinstance(error, Exception | GeneratorExit):
        return False
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return True
    if last.tb_frame.f_code.co_filename.startswith(_OURS):
        return True
    return isinstance(error, KeyboardInterrupt) and not _raises(last)


def _raises(where: TracebackType) -> bool:
    return where.tb_frame.f_code.co_code[where.tb_lasti] == _RAISE
