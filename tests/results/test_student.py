"""Student's t against scipy's."""

import math

import pytest

from mibench.results.student import quantile, upper_tail

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("df", [1, 1.00001, 1.7, 2, 3.3, 19, 57.2, 300, 1500, 2000, 2e4, 1e6])
def test_tails_and_quantiles_are_those_of_scipy(df: float) -> None:
    for t in (-3.0, -0.2, 0.0, 0.5, 2.0, 5.0, 20.0):
        assert upper_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9, abs=1e-300)
    for probability in (0.5, 0.8, 0.975, 0.9999):
        assert quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-9, abs=1e-9)


def test_infinitely_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    for df in (1e12, math.inf):
        assert quantile(0.975, df) == pytest.approx(stats.norm.ppf(0.975), rel=1e-9)
        assert upper_tail(2.0, df) == pytest.approx(stats.norm.sf(2.0), rel=1e-9)


def test_far_out_there_is_nothing() -> None:
    assert upper_tail(1e100, 1) == pytest.approx(1 / (math.pi * 1e100))  # Cauchy's
    assert upper_tail(math.inf, 3) == 0


@pytest.mark.parametrize("df", [0.999, 0.25, 0.0, -1.0, math.nan, -math.inf])
def test_fewer_than_one_degree_of_freedom_are_refused(df: float) -> None:
    with pytest.raises(ValueError, match="at least one degree of freedom"):
        upper_tail(2.0, df)
    with pytest.raises(ValueError, match="at least one degree of freedom"):
        quantile(0.975, df)
