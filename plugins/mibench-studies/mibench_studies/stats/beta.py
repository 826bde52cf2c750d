"""Beta regression of fractions with a logit link, marginal effects, and what they cost the other way round.

Shapes: N rows, K coefficients (the first of the constant), D draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.othermod.betareg import BetaModel
from statsmodels.tools.sm_exceptions import ConvergenceWarning

Floats = NDArray[np.float64]


def squeezed(y: ArrayLike) -> Floats:
    """Return fractions inside (0, 1): as they are, or if one is not, cut to [0, 1] and all of them moved inwards.

    They then become (y (N - 1) + 1/2) / N (Smithson and Verkuilen, 2006), which draws few values far to the middle.
    """
    values = np.asarray(y, float)
    if ((values > 0) & (values < 1)).all():
        return values
    clipped = np.clip(values, 0, 1)
    made: Floats = (clipped * (len(clipped) - 1) + 0.5) / len(clipped)
    return made


@dataclass(frozen=True)
class BetaFit:
    """A fitted Beta regression.

    Attributes:
        names: of the coefficients, ``"const"`` first.
        coefficients: (K,).
        covariance: of these, (K, K); cluster-robust if clusters were given.
        precision: phi.
        x_NK: the design matrix.
        quantile: standard errors on each side of a 95 % interval: the normal one, or with clusters Student's t with as
            many degrees as clusters less one, without which few clusters give intervals that are too narrow.
    """

    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    precision: float
    x_NK: Floats
    quantile: float = float(norm.ppf(0.975))

    @property
    def errors(self) -> Floats:
        """Standard errors (K,)."""
        made: Floats = np.sqrt(np.clip(np.diag(self.covariance), 0, None))
        return made

    @property
    def fitted(self) -> Floats:
        """Means (N,)."""
        made: Floats = expit(self.x_NK @ self.coefficients)
        return made

    def interval(self, name: str) -> tuple[float, float]:
        """Return the 95 % interval of a coefficient."""
        place = self.names.index(name)
        value, half = float(self.coefficients[place]), self.quantile * float(self.errors[place])
        return value - half, value + half

    def predict(self, x: Floats) -> Floats:
        """Return means at other rows, without the constant."""
        made: Floats = expit(np.column_stack([np.ones(len(x)), x]) @ self.coefficients)
        return made


def fit_beta(y: ArrayLike, x: Floats, names: Sequence[str], clusters: Sequence[object] | None = None) -> BetaFit | None:
    """Fit a Beta regression by maximum likelihood; ``None`` where it does not converge.

    Args:
        y: fractions inside (0, 1), see :func:`squeezed`.
        x: columns of the design matrix without the constant, (N, K - 1).
        names: of these columns.
        clusters: which cluster each row is of; standard errors are robust against dependence within them.

    Source: Ferrari and Cribari-Neto, 2004.
    """
    x_NK = np.column_stack([np.ones(len(x)), x])
    codes = None if clusters is None else np.unique(np.asarray(clusters, str), return_inverse=True)[1]
    how = {} if codes is None else {"cov_type": "cluster", "cov_kwds": {"groups": codes}}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # asked for below
        try:
            model = BetaModel(np.asarray(y, float), x_NK)
            made = model.fit(disp=0, maxiter=500, **how)
            if not made.mle_retvals["converged"]:  # where little varies, steps of the default are too coarse at the end
                made = model.fit(disp=0, method="newton", start_params=made.params, **how)
        except (np.linalg.LinAlgError, ValueError):
            return None
    size = x_NK.shape[1]
    covariance = np.asarray(made.cov_params(), float)[:size, :size]
    if not made.mle_retvals["converged"] or not np.isfinite(covariance).all():
        return None
    clusters_less_one = None if codes is None else max(int(codes.max()), 1)
    return BetaFit(
        ("const", *names),
        np.asarray(made.params[:size], float),
        covariance,
        float(np.exp(made.params[size])),
        x_NK,
        float(norm.ppf(0.975) if clusters_less_one is None else student.ppf(0.975, clusters_less_one)),
    )


def predict_beta(y: Floats, x: Floats, new: Floats) -> Floats:
    """Return predictions of a Beta regression; NaN where it does not converge."""
    fit = fit_beta(squeezed(y), x, [str(number) for number in range(x.shape[1])])
    return np.full(len(new), np.nan) if fit is None else fit.predict(new)


@dataclass(frozen=True)
class Effect:
    """An average marginal effect: by how much the mean fraction rises for one unit of a column, others held fixed.

    Attributes:
        name: of the column.
        value: the effect.
        error: its standard error, by the delta method.
        quantile: as of the fit.
    """

    name: str
    value: float
    error: float
    quantile: float

    @property
    def ci95(self) -> tuple[float, float]:
        """Its interval."""
        return self.value - self.quantile * self.error, self.value + self.quantile * self.error

    @property
    def cost(self) -> float:
        """Units of the column per unit of the fraction: 1 / effect."""
        return 1 / self.value if self.value else float("inf")

    @property
    def cost_ci95(self) -> tuple[float, float] | None:
        """Interval of the cost by the delta method; ``None`` if that of the effect holds 0: it may be anything."""
        low, high = self.ci95
        if low <= 0 <= high:
            return None
        half = self.quantile * self.error / self.value**2
        return self.cost - half, self.cost + half


def marginal_effects(fit: BetaFit) -> list[Effect]:
    """Return the average marginal effect of every column."""
    mean_N = fit.fitted
    slope_N, curve_N = mean_N * (1 - mean_N), mean_N * (1 - mean_N) * (1 - 2 * mean_N)
    found = []
    for place, name in enumerate(fit.names[1:], 1):
        own = float(fit.coefficients[place])
        gradient_K = own * (curve_N[:, None] * fit.x_NK).mean(axis=0)
        gradient_K[place] += slope_N.mean()
        variance = float(gradient_K @ fit.covariance @ gradient_K)
        found.append(Effect(name, own * float(slope_N.mean()), sqrt(max(variance, 0.0)), fit.quantile))
    return found


def bootstrap_effects(
    y: ArrayLike, x: Floats, names: Sequence[str], clusters: Sequence[object], *, draws: int, seed: int = 0
) -> Floats:
    """Return effects of resampled clusters, (D, K - 1); resamples in which the fit fails are left out."""
    labels = np.asarray(clusters, str)
    members = [np.flatnonzero(labels == one) for one in np.unique(labels)]
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = []
    for _ in range(draws):
        picked = generator.integers(0, len(members), len(members))
        chosen = np.concatenate([members[one] for one in picked])
        fit = fit_beta(np.asarray(y, float)[chosen], x[chosen], names)
        if fit is not None:
            rows.append([effect.value for effect in marginal_effects(fit)])
    return np.array(rows).reshape(-1, x.shape[1])
