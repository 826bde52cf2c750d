"""Compare networks whose tensors lie in Linux's large pages with the same in small ones: time, and the last bit.

``python benchmarks/large_pages.py [--turns 3]``: each way in turn, every turn in a new process, because torch reads the
variable once; one thread. The system must grant large pages on request (``madvise`` or ``always`` in
/sys/kernel/mm/transparent_hugepage/enabled), or all ratios are 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from statistics import median

from mibench.execute.before_torch import LARGE_PAGES

CASES = (
    ("efficientnet-lite0", 128, 32, "train"),
    ("efficientnet-lite0", 128, 256, "answer"),
    ("small-resnet", 64, 32, "train"),
    ("small-resnet", 64, 256, "answer"),
    ("smallcnn", 64, 32, "train"),
    ("smallcnn", 64, 500, "answer"),
)
"""Network, pixels, images at once, and whether it is trained for a step or answers without gradient."""


def measured(name: str, size: int, images: int, mode: str) -> tuple[float, str]:
    """Return the median seconds of five passes, and a digest of what they yield."""
    import torch

    from mibench.registry.registry import load_registry

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = load_registry().component("model", name)().build(num_classes=40, channels=3, size=size)
    model.train(mode == "train")
    x_BCHW, taken, digest = torch.rand(images, 3, size, size), [], hashlib.sha256()
    for _ in range(6):
        began = time.perf_counter()
        with torch.set_grad_enabled(mode == "train"):
            out = model(x_BCHW)
        if mode == "train":
            model.zero_grad()
            out.logsumexp(1).sum().backward()
        taken.append(time.perf_counter() - began)
        digest.update(out.detach().numpy().tobytes())
    for parameter in model.parameters():
        if parameter.grad is not None:
            digest.update(parameter.grad.numpy().tobytes())
    return median(taken[1:]), digest.hexdigest()


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--here", action="store_true", help="measure in this process and print JSON")
    args = parser.parse_args()
    if args.here:
        print(json.dumps([measured(*case) for case in CASES]))
        return
    variable = LARGE_PAGES[0]
    found: dict[str, list[list[tuple[float, str]]]] = {"0": [], "1": []}
    for _ in range(args.turns):
        for way, rounds in found.items():
            command = [sys.executable, __file__, "--here"]
            done = subprocess.run(command, env=os.environ | {variable: way}, capture_output=True, text=True, check=True)
            rounds.append(json.loads(done.stdout))
    print("| network | pixels | images | pass | small pages, s | large, s | large / small | same bits |")
    print("|---|---|---|---|---|---|---|---|")
    for place, case in enumerate(CASES):
        small, large = (median(one[place][0] for one in found[way]) for way in ("0", "1"))
        same = "yes" if len({one[place][1] for rounds in found.values() for one in rounds}) == 1 else "no"
        print(f"| {' | '.join(map(str, case))} | {small:.2f} | {large:.2f} | {large / small:.2f} | {same} |")


if __name__ == "__main__":
    main()
