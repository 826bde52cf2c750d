"""Student's t against scipy's."""

import math

import pytest

from mibench.results.student import quantile, upper_tail

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("df", [1, 1.7, 2, 3.3, 19, 57.2, 300, 1500])
def test_tails_and_quantiles_are_those_of_scipy(df: float) -> None:
    for t in (-3.0, -0.2, 0.0, 0.5, 2.0, 5.0, 20.0):
        assert upper_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-6, abs=1e-15)
    for probability in (0.5, 0.8, 0.975, 0.9999):
        assert quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-6, abs=1e-9)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    for df in (2000, 1e5, math.inf):
        assert quantile(0.975, df) == pytest.approx(stats.norm.ppf(0.975))
        assert upper_tail(2.0, df) == pytest.approx(stats.t.sf(2.0, min(df, 1e9)), rel=5e-3)
