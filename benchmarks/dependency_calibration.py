"""What the columns of ``dependency`` say of views whose dependence is known: the table of the metrics' readme.

``python benchmarks/dependency_calibration.py``: photographs of the dataset orl at 64 pixels, m = 128, three batches.
"""

from __future__ import annotations

from statistics import fmean

import torch
from mibench_datasets.orl import Orl
from mibench_metrics.dependency import measures
from torch.nn.functional import one_hot

from mibench.api import Dependence, generator

M, BATCHES, SHUFFLES = 128, 3, 20
COLUMNS = ("hsic_xz", "hsic_xz_corrected", "cka_xz", "hsic_median_xz")


def views(x_BD: torch.Tensor, labels_B: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
    """Return views (B, D) by name."""
    rng = generator("calibration", number)
    weights = torch.randn(x_BD.shape[1], 256, generator=rng, dtype=torch.float64) / x_BD.shape[1] ** 0.5
    relu = torch.relu((x_BD - x_BD.mean(0)) @ weights)
    return {
        "Z = X": x_BD,
        "random ReLU layer": relu,
        "10 times the same": 10 * relu,
        "0.1 times the same": 0.1 * relu,
        "its rows permuted": relu[torch.randperm(len(relu), generator=rng)],
        "one-hot label": one_hot(labels_B).double(),
        "pure noise": torch.randn(len(x_BD), 256, generator=rng, dtype=torch.float64),
    }


def main() -> None:
    """Print the table."""
    images = Orl().load(range(40), size=64, channels=1)
    x_NCHW = images.all_images()
    order = torch.randperm(len(x_NCHW), generator=generator("calibration"))
    rows = []
    for number, part in enumerate(order.split(M)[:BATCHES]):
        x_BD = 2 * x_NCHW[part].flatten(1).double() - 1
        labels_B = images.labels_N[part]
        named = views(x_BD, labels_B, number)
        rows.append(measures(named, x_BD, one_hot(labels_B).double(), Dependence(), SHUFFLES))
    print("| Z | " + " | ".join(f"`{column}`" for column in COLUMNS) + " |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    for name in named:
        values = [fmean(row[column][name] for row in rows) for column in COLUMNS]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


if __name__ == "__main__":
    main()
