"""Who wants a run to end: a person, whose signal arrives here, or a component, which only says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def watched_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a signal to end has arrived in this block.

    What the signals do stays as it was. Outside of the main thread none can arrive.
    """
    arrived: list[int] = []
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    for number, handler in before.items():
        signal.signal(number, _noting(arrived, handler))
    try:
        yield lambda: bool(arrived)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _noting(arrived: list[int], handler: Callable[[int, FrameType | None], Any]) -> Callable[..., None]:
    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        handler(number, frame)

    return note
