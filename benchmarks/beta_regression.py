"""How often the intervals of the studies' Beta regression hold: coefficients, marginal effects, costs.

``python benchmarks/beta_regression.py``: 400 simulations of 160 rows, independent, and in 16 clusters that share an
error of their own; the table is in the readme of mibench-studies.
"""

from __future__ import annotations

import argparse

import numpy as np
from mibench_studies.stats.beta import fit_beta, marginal_effects
from scipy.special import expit

ROWS, CLUSTERS, PRECISION = 160, 16, 30.0
TRUE = np.array([1.2, -0.6])


def simulate(draw: np.random.Generator, shared: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return outcomes, columns, clusters and the true means."""
    x = draw.uniform(-1, 1, (ROWS, 2))
    clusters = np.arange(ROWS) % CLUSTERS
    own = draw.normal(0, shared, CLUSTERS)[clusters]
    mean = expit(0.3 + x @ TRUE + own)
    y = draw.beta(mean * PRECISION, (1 - mean) * PRECISION)
    return np.clip(y, 1e-6, 1 - 1e-6), x, clusters, expit(0.3 + x @ TRUE)


def main() -> None:
    """Print coverage of 95 % intervals."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=400)
    repetitions = parser.parse_args().repetitions
    print("| rows | errors | coefficient | effect | cost |\n|---|---|---|---|---|")
    for shared, robust in ((0.0, False), (0.0, True), (0.2, False), (0.2, True)):
        hits = []
        for number in range(repetitions):
            y, x, clusters, mean = simulate(np.random.default_rng([number, round(10 * shared)]), shared)
            fit = fit_beta(y, x, ["a", "b"], clusters if robust else None)
            if fit is None:
                continue
            truth = TRUE[0] * (mean * (1 - mean)).mean()
            effect = marginal_effects(fit)[0]
            low, high = fit.interval("a")
            cost = effect.cost_ci95 or (-np.inf, np.inf)
            hits.append(
                [low <= TRUE[0] <= high, effect.ci95[0] <= truth <= effect.ci95[1], cost[0] <= 1 / truth <= cost[1]]
            )
        told = " | ".join(f"{share:.3f}" for share in np.mean(hits, axis=0))
        kind = "clusters" if shared else "independent"
        print(f"| {kind} | {'cluster-robust' if robust else 'plain'} | {told} |")


if __name__ == "__main__":
    main()
