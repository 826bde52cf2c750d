"""Runs nodes again and again, killing them with SIGKILL at random moments until they get through.

``python killer.py SEED '[["STORE", "STAGE", "LABEL"], ...]'``. The process imports everything once and forks, so that a
kill costs milliseconds. Each case prints a JSON line: the kills that hit, and the first progress of each try.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import fake_plugin
import kornia.augmentation  # noqa: F401 - heavy: once, before the forks
import torch
import torch._dynamo  # the first optimiser imports it

from mibench.nodes.node import Node
from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.session.run import plan_request
from mibench.stages import prior
from mibench.stages.run import run_node
from mibench.store.store import Store
from mibench.training import loop

REQUEST = {"protocols": ("toy",), "defenses": ("noisy",), "attacks": ("guess",), "device": "cpu"}


def child(node: Node, root: Path, registry: Registry, pipe: int) -> None:
    """Make a node's artifact; every report of progress goes into the pipe."""

    def progress(done: int, total: int, unit: str, signals: object) -> None:
        os.write(pipe, bytes([done]))
        time.sleep(0.002)  # so that kills fall before, into and after the checkpoint that follows

    run_node(node, Store(root), registry, torch.device("cpu"), progress)
    os._exit(0)


def attempt(node: Node, root: Path, registry: Registry, events: int | None, delay: float) -> tuple[bool, list[int]]:
    """Fork, wait for some reports, kill; return whether the child came to its end, and what it reported."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child(node, root, registry, there)
        finally:
            os._exit(1)
    os.close(there)
    seen: list[int] = []
    while (events is None or len(seen) < events) and (byte := os.read(here, 1)):
        seen += byte
    if events is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(here)
    return os.waitstatus_to_exitcode(status) == 0, seen


def torture(
    root: Path, kills: int, stage: str, label: str, registry: Registry, rng: random.Random
) -> dict[str, object]:
    """Kill one stage up to ``kills`` times, then let it finish; return what happened."""
    plan = plan_request(Request(**REQUEST, store=root), registry)
    (node,) = [planned.node for planned in plan.nodes if planned.stage == stage and label in planned.label]
    killed, firsts = 0, []
    for _ in range(kills):
        # The first time late enough for a checkpoint, so that there is one to go on from.
        events, delay = (2, 0.0) if not firsts else (rng.randint(1, 3), rng.uniform(0, 0.02))
        done, seen = attempt(node, root, registry, events, delay)
        firsts += seen[:1]
        killed += not done
        if done:
            break
    done, seen = attempt(node, root, registry, None, 0)
    return {"done": done, "killed": killed, "firsts": firsts + seen[:1]}


def main() -> None:
    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS = prior.CHECKPOINT_SECONDS = prior.REPORT_SECONDS = -1.0
    registry, rng = fake_plugin.registry(), random.Random(int(sys.argv[1]))
    for root, stage, label in json.loads(sys.argv[2]):
        print(json.dumps(torture(Path(root), 8, stage, label, registry, rng)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
