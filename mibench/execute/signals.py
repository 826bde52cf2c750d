"""Signals that ask a process to end: it cleans up like after Ctrl-C and says how to go on, not just vanishes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")
"""What batch systems, containers and closed terminals send. Windows has only the first."""
GRACE_S = 10.0


class Stopped(BaseException):
    """A signal asked this process to end. No ``Exception``: nothing may take it for the failure of one stage.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """Name of the signal, e.g. ``"SIGTERM"``."""
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """What a shell calls the end by this signal."""
        return 128 + self.number


@contextmanager
def stoppable(names: tuple[str, ...] = ENDING) -> Iterator[None]:
    """Raise :class:`Stopped` within when such a signal comes.

    Signals that are ignored (``nohup``) or that somebody else handles are left alone, and so are all of them outside
    the main thread, where Python handles none. For 10 seconds after the first one others have no effect, so that they
    do not interrupt the cleaning up: a terminal or a batch system often sends several.

    Catch it in a function that calls the one with the loop: on Python 3.12 and 3.13 what a signal raises while a loop
    jumps back is not seen by a ``try`` or ``with`` of the same function.
    """
    last = -GRACE_S

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last >= GRACE_S:
            last = time.monotonic()
            raise Stopped(number)

    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    mine = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
