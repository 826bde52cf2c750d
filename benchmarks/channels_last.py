"""What the layout of convolutions costs on the CPU: passes with weights as torch makes them and with channels last.

``python benchmarks/channels_last.py``: on one thread, seconds of processor time, best of several, for each network and
kind of pass, as a ratio of the two layouts. Targets and evaluators have the second (``mibench.training.hooks``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from mibench.execute.before_torch import prepare_torch

prepare_torch()

import torch  # noqa: E402
from torch import nn  # noqa: E402

from mibench.api import Classifier, generator, params, seeded  # noqa: E402
from mibench.registry.registry import load_registry  # noqa: E402

CASES = (
    ("smallcnn", 64, 32),
    ("small-resnet", 64, 32),
    ("resnet18", 64, 32),
    ("efficientnet-lite0", 128, 32),
)


def passes(model: Classifier, x_BCHW: torch.Tensor) -> dict[str, Callable[[], None]]:
    """Return what is timed: a training step without its update, a gradient of images, a pass without gradient."""

    def train() -> None:
        model.train()
        model(x_BCHW).sum().backward()

    def attack() -> None:
        model.eval()
        x = x_BCHW.clone().requires_grad_()
        model(x).sum().backward()

    @torch.no_grad()
    def judge() -> None:
        model.eval()
        model(x_BCHW)

    return {"training": train, "gradient of images": attack, "no gradient": judge}


def best(run: Callable[[], None], repetitions: int) -> float:
    """Return the least processor time of several runs, after one that does not count."""
    taken = []
    for _ in range(repetitions + 1):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken[1:])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    registry = load_registry()
    print(f"torch {torch.__version__}\n\n| network | pass | s | s, channels last | ratio |\n|---|---|---|---|---|")
    for name, size, batch in CASES:
        made, taken = params.build(registry.component("model", name), {}), []
        x_BCHW = torch.rand(batch, 3, size, size, generator=generator(0))
        for layout in (torch.contiguous_format, torch.channels_last):
            with seeded(0, "channels last"):
                model = made.build(num_classes=40, channels=3, size=size)
            nn.utils.convert_conv2d_weight_memory_format(model, layout)
            taken.append({kind: best(run, repetitions) for kind, run in passes(model, x_BCHW).items()})
        for kind, plain in taken[0].items():
            own = taken[1][kind]
            print(f"| {name} | {kind} | {plain:.3f} | {own:.3f} | {own / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
