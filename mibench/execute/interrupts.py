"""Who wants a run to end: a person, whose signal arrives here, or a component, which only says so.

A component may catch the first and raise the second, so what handlers raise is noted as it happens. While plugins are
only listed, a traceback tells as much (``mibench.registry.interrupts``).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Ended = Callable[[], BaseException | None]
"""Returns what the handler of a signal raised, if one has."""
SIGNALS = tuple(getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n))


@contextmanager
def watched_signals() -> Iterator[Ended]:
    """Yield a function that returns what the handler of a signal raised in this block; ``None`` if none has.

    What the signals do stays as it was. Outside of the main thread none can arrive.
    """
    raised: list[BaseException] = []
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    for number, handler in before.items():
        signal.signal(number, _noting(raised, handler))
    try:
        yield lambda: raised[0] if raised else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _noting(raised: list[BaseException], handler: Callable[[int, FrameType | None], Any]) -> Callable[..., None]:
    def note(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            raised.append(error)
            raise

    return note
