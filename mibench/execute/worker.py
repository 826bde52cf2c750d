"""A worker process: reads nodes as JSON lines, runs them, answers with JSON lines. Started by executor ``local``.

Arguments: ``STORE DEVICE [LAYER ...]``. Events: ``ready``, ``progress``, ``finished``, ``failed``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mibench.execute.lifeline import Orders, end_with_parent
from mibench.execute.signals import Stopped, stoppable
from mibench.execute.streams import prepare

if TYPE_CHECKING:
    from mibench.execute.contract import ExecutorContext
    from mibench.execute.interrupts import Ended


def main() -> int:
    """Serve until the input closes, and return an exit code.

    The process that started this one decides when it ends, by SIGTERM or by its own end: Ctrl-C in a terminal goes to
    both.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        with stoppable(("SIGTERM",)):
            end_with_parent()
            orders = Orders(sys.stdin.fileno())
            prepare()
            # Whatever a library prints must not end up between our lines.
            answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            _serve(orders, answers)
    except Stopped as stopped:
        return stopped.exit_code
    return 0


def _serve(orders: Iterable[str], answers: IO[bytes]) -> None:
    # Heavy, so imported when signals are heard already.
    import torch

    from mibench.execute.contract import ExecutorContext, cpu_threads
    from mibench.execute.interrupts import watched_signals
    from mibench.registry.registry import load_registry
    from mibench.stages.run import pick_device
    from mibench.store.locks import PROBING
    from mibench.store.store import Store

    PROBING.setLevel(logging.ERROR)  # the process that started this one has said it
    torch.set_num_threads(cpu_threads())
    registry = load_registry()
    store, device = Store(Path(sys.argv[1]), [Path(layer) for layer in sys.argv[3:]]), pick_device(sys.argv[2])
    _send(answers, event="ready")
    with watched_signals() as ended:
        for line in orders:
            _run(json.loads(line), ExecutorContext(store, registry, str(device)), answers, ended)
            if (end := ended()) is not None:  # by a signal, whatever a component made of it
                raise end


def _run(order: Mapping[str, Any], ctx: ExecutorContext, answers: IO[bytes], ended: Ended) -> None:
    """Run one node and say what became of it."""
    from mibench.execute.explain import explain
    from mibench.nodes.node import Node
    from mibench.stages.run import pick_device, run_node

    def progress(done: int, total: int, unit: str, signals: Mapping[str, float]) -> None:
        _send(answers, event="progress", done=done, total=total, unit=unit, signals=dict(signals))

    node = Node.from_json(order)
    try:
        run_node(node, ctx.store, ctx.registry, pick_device(ctx.device), progress)
    except Stopped:
        raise
    except BaseException as error:  # the isolation point between stages
        if (end := ended()) is not None:
            raise end from None
        _send(answers, event="failed", error=explain(error, node))
    else:
        _send(answers, event="finished")


def _send(answers: IO[bytes], **message: Any) -> None:
    try:
        answers.write(json.dumps(message).encode("utf-8") + b"\n")
    except BrokenPipeError:  # nobody listens any more
        raise Stopped(signal.SIGTERM) from None


if __name__ == "__main__":
    sys.exit(main())
