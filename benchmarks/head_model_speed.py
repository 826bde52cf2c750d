"""How fast the prior ``head-model`` renders, against the dataset's renderer in numpy.

Both render the same frontal portraits, one process, in turns; the ratio is the median over rounds. ``forward`` keeps no
graph, ``forward and backward`` differentiates a loss with respect to the latents. numpy includes the mesh of each
person, as the prior does. Prints a Markdown table.

    uv run python benchmarks/head_model_speed.py --size 64 --threads 1 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import torch
from mibench_datasets.head_model.component import HeadModelPrior
from mibench_datasets.head_model.prior import HeadFaces
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.identity import sample_identity
from mibench_datasets.rendered_faces.render import render, sculpt
from mibench_datasets.rendered_faces.view import plain_view
from threadpoolctl import threadpool_limits
from torch import Tensor

from mibench.api import generator


def numpy_portraits(count: int, size: int, threads: int) -> None:
    """Render portraits with the dataset's renderer."""
    head = load_head()

    def draw(number: int) -> None:
        identity = sample_identity(head, seed=0, number=number, coarse_groups=4, shape_spread=0.35)
        render(head, sculpt(head, identity), plain_view(head), size=size, channels=3)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw, range(count)))


def forward(prior: HeadFaces, latents: Tensor) -> None:
    """Render without a graph."""
    with torch.no_grad():
        prior.render(latents)


def backward(prior: HeadFaces, latents: Tensor) -> None:
    """Render, and differentiate a loss."""
    asked = latents.clone().requires_grad_(True)
    prior.render(asked).square().sum().backward()


def seconds(work: Callable[[], None]) -> float:
    """Return how long work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(args: argparse.Namespace, threads: int) -> None:
    """Measure with so many threads, and print the rows."""
    torch.set_num_threads(threads)
    prior = HeadModelPrior().build(channels=3, size=args.size)
    latents = prior.to_latent(prior.sample(args.batch, generator("benchmark")))
    ways: dict[str, Callable[[], None]] = {
        "numpy": lambda: numpy_portraits(args.batch, args.size, threads),
        "forward": lambda: forward(prior, latents),
        "forward and backward": lambda: backward(prior, latents),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(args.rounds + 1):
        for name, work in ways.items():
            spent = seconds(work)
            if turn:  # the first one warms up
                taken[name].append(spent)
    for name, spent_R in taken.items():
        ratio = median(base / spent for base, spent in zip(taken["numpy"], spent_R, strict=True))
        print(f"| {threads} | {name} | {args.batch / median(spent_R):.0f} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"torch {torch.__version__}; portraits of {args.size} pixels, batches of {args.batch}\n")
    print("| threads | what | images/s | times numpy |\n|---|---|---|---|")
    for threads in args.threads:
        measure(args, threads)


if __name__ == "__main__":
    main()
