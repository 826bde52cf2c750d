"""Measure one training step under different ways in which torch's threads wait for each other.

``python benchmarks/thread_waiting.py [--turns 3] [--seconds 3]`` prints the median milliseconds of a step of a small
CNN (batch 20, 64 px) on an idle machine and beside another process that never rests, each way in turn, every turn in a
new process, because OpenMP reads its variables once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "one thread": (1, {}),
    "two threads": (2, {}),
    "two, passive": (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
    "two, 100 spins": (2, {"GOMP_SPINCOUNT": "100"}),
    "two, 1000 spins": (2, {"GOMP_SPINCOUNT": "1000"}),
    "two, 10000 spins": (2, {"GOMP_SPINCOUNT": "10000"}),
}
BUSY = "while True: pass"


def step_ms(threads: int, seconds: float) -> float:
    """Return the median milliseconds of a training step in this process."""
    import torch

    from mibench.registry.registry import load_registry

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = load_registry().component("model", "smallcnn")().build(num_classes=20, channels=1, size=64).train()
    optimizer = torch.optim.Adam(model.parameters())
    x_BCHW, y_B = torch.rand(20, 1, 64, 64), torch.arange(20)

    def step() -> float:
        began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x_BCHW), y_B).backward()
        optimizer.step()
        return time.perf_counter() - began

    for _ in range(5):
        step()
    end, taken = time.monotonic() + seconds, []
    while time.monotonic() < end:
        taken.append(step())
    return 1000 * statistics.median(taken)


@contextmanager
def neighbour(wanted: bool) -> Iterator[None]:
    """Keep one core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", BUSY]) if wanted else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--step", type=int, help="threads; measure here and print the milliseconds alone")
    args = parser.parse_args()
    if args.step:
        print(step_ms(args.step, args.seconds))
        return
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(args.turns):
        for busy in (False, True):
            for way, (threads, variables) in WAYS.items():
                command = [sys.executable, __file__, "--step", str(threads), "--seconds", str(args.seconds)]
                with neighbour(busy):
                    done = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True)
                found.setdefault((way, busy), []).append(float(done.stdout))
    print(f"{'':18}{'alone':>22}{'beside a busy process':>26}")
    for way in WAYS:
        columns = [" ".join(f"{value:.0f}" for value in found[way, busy]) for busy in (False, True)]
        print(f"{way:18}{columns[0]:>22}{columns[1]:>26}   ms")


if __name__ == "__main__":
    main()
