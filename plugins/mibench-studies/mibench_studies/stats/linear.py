"""Ordinary least squares with cluster-robust errors, collinearity, and the error on defenses that were left out.

Shapes: N rows, K coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.outliers_influence import variance_inflation_factor

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear model.

    Attributes:
        names: of the coefficients, ``"const"`` first.
        coefficients: (K,).
        errors: standard errors (K,), robust against dependence within clusters.
        r2: share of the variance that is explained.
        free: degrees of freedom of intervals: clusters less one.
    """

    names: tuple[str, ...]
    coefficients: Floats
    errors: Floats
    r2: float
    free: int

    def interval(self, name: str) -> tuple[float, float]:
        """Return the 95 % interval of a coefficient, by Student's t with as many degrees as clusters less one."""
        place = self.names.index(name)
        half = float(stats.t.ppf(0.975, max(self.free, 1)) * self.errors[place])
        return float(self.coefficients[place]) - half, float(self.coefficients[place]) + half


def fit_linear(y: ArrayLike, x: Floats, names: Sequence[str], clusters: Sequence[object]) -> LinearFit:
    """Fit by ordinary least squares with cluster-robust standard errors."""
    codes = np.unique(np.asarray(clusters, str), return_inverse=True)[1]
    design = np.column_stack([np.ones(len(x)), x])
    made = sm.OLS(np.asarray(y, float), design).fit(cov_type="cluster", cov_kwds={"groups": codes})
    return LinearFit(
        ("const", *names), np.asarray(made.params), np.asarray(made.bse), float(made.rsquared), int(codes.max())
    )


def inflation(x: Floats, names: Sequence[str]) -> dict[str, float]:
    """Return the variance inflation factor of each column; above 10 its coefficient says little by itself."""
    design = np.column_stack([np.ones(len(x)), x])
    with np.errstate(all="ignore"):
        return {name: float(variance_inflation_factor(design, place)) for place, name in enumerate(names, 1)}


def left_out_error(
    y: ArrayLike, x: Floats, clusters: Sequence[object], predict: Callable[[Floats, Floats, Floats], Floats]
) -> float:
    """Return the mean absolute error on rows of clusters that had no part in the fit.

    Args:
        y: outcomes.
        x: columns.
        clusters: which cluster each row is of.
        predict: ``predict(y, x, new_x)``.
    """
    labels, outcome = np.asarray(clusters, str), np.asarray(y, float)
    errors = np.zeros(len(outcome))
    for one in np.unique(labels):
        out = labels == one
        errors[out] = np.abs(outcome[out] - predict(outcome[~out], x[~out], x[out]))
    return float(errors.mean())


def predict_linear(y: Floats, x: Floats, new: Floats) -> Floats:
    """Return predictions of least squares, of the smallest norm where columns are collinear."""
    coefficients = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]
    made: Floats = np.column_stack([np.ones(len(new)), new]) @ coefficients
    return made


def predict_mean(y: Floats, x: Floats, new: Floats) -> Floats:
    """Return the mean, whatever the columns say."""
    return np.full(len(new), y.mean())


def between_clusters(y: ArrayLike, clusters: Sequence[object]) -> float:
    """Return the p of the F test that all clusters have one mean; 1 where none has two rows."""
    labels, outcome = np.asarray(clusters, str), np.asarray(y, float)
    groups = [outcome[labels == one] for one in np.unique(labels)]
    if len(groups) < 2 or len(outcome) <= len(groups):
        return 1.0
    inside = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    if inside == 0:
        return 0.0 if np.ptp(outcome) > 0 else 1.0
    return float(stats.f_oneway(*groups).pvalue)
