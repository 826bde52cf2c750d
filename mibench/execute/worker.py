"""A worker process: reads nodes as JSON lines, runs them, answers with JSON lines. Started by executor ``local``.

``python -m mibench.execute.worker STORE DEVICE [LAYER ...]``.
Events: ``ready``, ``progress``, ``finished``, ``failed``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from mibench.execute.contract import cpu_threads
from mibench.execute.inline import explain
from mibench.plan.node import Node
from mibench.registry.registry import load_registry
from mibench.stages.run import pick_device, run_node
from mibench.store.store import Store


def main() -> None:
    """Serve until the input closes."""
    # Whatever a library prints must not end up between our lines.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(cpu_threads())
    registry = load_registry()
    store, device = Store(Path(sys.argv[1]), [Path(layer) for layer in sys.argv[3:]]), pick_device(sys.argv[2])
    _say(answers, event="ready")
    for line in sys.stdin:
        node = Node.from_json(json.loads(line))

        def progress(done: int, total: int, unit: str, signals: Mapping[str, float]) -> None:
            _say(answers, event="progress", done=done, total=total, unit=unit, signals=dict(signals))

        try:
            run_node(node, store, registry, device, progress)
        except Exception as error:  # the isolation point between stages
            _say(answers, event="failed", error=explain(error))
        else:
            _say(answers, event="finished")


def _say(answers: IO[str], **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
