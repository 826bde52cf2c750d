"""A worker's tie to the process that started it: when that ends, even by ``kill -9``, the worker ends as well.

Its input is a pipe whose other end only that process holds, so the pipe closes when it ends; a thread watches it,
because a worker that computes does not read. On Linux the system sends SIGTERM besides. Imports nothing heavy: it has
to hold before torch is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator

CLOSING_S, GRACE_S = 0.5, 10.0
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask the system for SIGTERM when the thread that started this process ends; elsewhere than on Linux do nothing."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Orders:
    """The lines of a pipe, read by a thread that also ends this process after the pipe has closed.

    After half a second, in which an idle process ends by itself, it gets SIGTERM; what is still there 10 seconds later
    (in code that lets no signal through) ends at once.

    Args:
        descriptor: of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._watch, daemon=True).start()

    def __iter__(self) -> Iterator[str]:
        """Yield lines until the pipe closes."""
        while (line := self._lines.get()) is not None:
            yield line

    def _watch(self) -> None:
        rest = b""
        # Not sys.stdin: a process that ends while a thread waits in there crashes.
        while chunk := self._read():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._lines.put(line.decode("utf-8"))
        self._lines.put(None)
        time.sleep(CLOSING_S)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(1)

    def _read(self) -> bytes:
        with contextlib.suppress(OSError):
            return os.read(self._descriptor, 2**16)
        return b""
