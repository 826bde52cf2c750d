"""Statistics against enumeration by hand, scipy, numerical derivatives and simulated data of known coefficients."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import synthetic as made
from mibench_studies.frames import arms_frame, as_frames, as_table, attack_notes, cells_frame, targets_frame
from mibench_studies.stats.beta import BetaFit, bootstrap_effects, fit_beta, marginal_effects, squeezed
from mibench_studies.stats.linear import fit_linear, inflation, left_out_error, predict_linear, predict_mean
from mibench_studies.stats.permutation import Groups, apart, hedges_g, logit, permutation_test, welch
from mibench_studies.stats.ranks import mean_interval, spearman
from mibench_studies.studies.randomised_trial import RandomisedTrial, assignment
from scipy import stats
from scipy.special import expit


def test_the_exact_permutation_test_is_an_enumeration_by_hand():
    one, other = [1.0, 2.0, 4.0], [3.0, 7.0, 8.0]
    pooled = [*one, *other]
    observed = abs(np.mean(one) - np.mean(other))
    gaps = []
    for chosen in combinations(range(6), 3):
        rest = [pooled[place] for place in range(6) if place not in chosen]
        gaps.append(abs(np.mean([pooled[place] for place in chosen]) - np.mean(rest)))
    assert len(gaps) == 20
    expected = sum(gap >= observed - 1e-9 for gap in gaps) / 20
    found = permutation_test(Groups.of(one, other))
    assert (found.p, found.least, found.exact) == (pytest.approx(expected), 2 / 20, True)
    assert expected == 0.2  # {1,2,3}, {1,2,4} and their complements


def test_groups_apart_reach_the_smallest_p_and_scipy_agrees():
    found = permutation_test(Groups.of([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]))
    assert found.p == found.least == 2 / 252
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=6), draw.normal(0.8, size=4)
    theirs = stats.permutation_test((one, other), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf)
    mine = permutation_test(Groups.of(one, other))
    # scipy doubles the smaller tail, which is another two-sided p where groups are unequal
    every = [a.mean() - b.mean() for a, b in _splits(np.concatenate([one, other]), 6)]
    assert mine.p == np.mean(np.abs(every) >= abs(one.mean() - other.mean()) - 1e-12)
    assert abs(mine.p - theirs.pvalue) < 0.1
    assert mine.least == 1 / 210


def _splits(values, size):
    for chosen in combinations(range(len(values)), size):
        mask = np.zeros(len(values), bool)
        mask[list(chosen)] = True
        yield values[mask], values[~mask]


def test_many_units_are_drawn_and_agree_with_the_exact_test():
    draw = np.random.default_rng(1)
    one, other = draw.normal(size=14), draw.normal(0.7, size=14)
    found = permutation_test(Groups.of(one, other))
    assert not found.exact
    assert found.p == pytest.approx(stats.ttest_ind(one, other).pvalue, abs=0.02)


def test_welch_and_hedges():
    one, other = [1.0, 2.0, 3.0, 4.5], [2.0, 4.0, 6.0]
    theirs = stats.ttest_ind(one, other, equal_var=False)
    found = apart(Groups.of(one, other))
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.ci95 == pytest.approx(tuple(theirs.confidence_interval()))
    pooled = np.sqrt((3 * np.var(one, ddof=1) + 2 * np.var(other, ddof=1)) / 5)
    assert hedges_g(Groups.of(one, other)) == pytest.approx((2.625 - 4) / pooled * (1 - 3 / (4 * 5 - 1)), rel=0.01)
    assert welch([1.0], other).ci95 is None
    assert hedges_g(Groups.of([1.0, 1.0], [1.0, 1.0])) is None
    assert logit([0.5, expit(2.0)]) == pytest.approx([0, 2])


ONE, OTHER = [1.0, 2.5, 0.5, 7.0, 8.0], [3.0, 2.0, 9.5, 8.5, 11.0, 9.0]
BLOCKS = ["a", "a", "a", "b", "b", "a", "a", "b", "b", "b", "b"]
"""Three against two in a, two against four in b, which lies higher."""


def least_squares(values, first, blocks):
    columns = {"first": np.asarray(first, float), **{name: (np.array(blocks) == name) * 1.0 for name in set(blocks)}}
    return sm.OLS(np.asarray(values, float), pd.DataFrame(columns))


def test_units_are_exchanged_within_blocks_by_hand():
    values, first = [*ONE, *OTHER], [True] * 5 + [False] * 6
    places = {name: [at for at, block in enumerate(BLOCKS) if block == name] for name in "ab"}
    gaps = []
    for in_a, in_b in product(combinations(places["a"], 3), combinations(places["b"], 2)):
        treated = [at in in_a or at in in_b for at in range(11)]
        gaps.append(abs(least_squares(values, treated, BLOCKS).fit().params["first"]))
    own = least_squares(values, first, BLOCKS).fit().params["first"]
    groups = Groups.of(ONE, OTHER, BLOCKS)
    found = permutation_test(groups)
    assert groups.difference == pytest.approx(own)
    assert len(gaps) == 10 * 15
    assert found.p == pytest.approx(np.mean([gap >= abs(own) - 1e-9 for gap in gaps]))
    assert (found.least, found.exact) == (1 / 150, True)
    # without blocks the higher block hides what is there
    assert found.p < permutation_test(Groups.of(ONE, OTHER)).p


def test_the_interval_within_blocks_is_least_squares_with_robust_errors():
    theirs = least_squares([*ONE, *OTHER], [True] * 5 + [False] * 6, BLOCKS).fit(cov_type="HC2", use_t=True)
    found = apart(Groups.of(ONE, OTHER, BLOCKS))
    assert found.difference == pytest.approx(theirs.params["first"])
    assert found.ci95 == pytest.approx(tuple(theirs.conf_int().loc["first"]))
    assert found.p == pytest.approx(theirs.pvalues["first"])
    plain = least_squares([*ONE, *OTHER], [True] * 5 + [False] * 6, BLOCKS).fit()
    corrected = plain.params["first"] / np.sqrt(plain.mse_resid) * (1 - 3 / (4 * 8 - 1))
    assert hedges_g(Groups.of(ONE, OTHER, BLOCKS)) == pytest.approx(corrected, rel=0.01)


def test_a_block_of_one_group_says_nothing():
    with_it = Groups.of([*ONE, 100.0], OTHER, [*BLOCKS[:5], "c", *BLOCKS[5:]])
    assert permutation_test(with_it) == permutation_test(Groups.of(ONE, OTHER, BLOCKS))
    assert apart(with_it) == apart(Groups.of(ONE, OTHER, BLOCKS))
    with pytest.raises(ValueError, match="no block holds units of both groups"):
        Groups.of([1.0], [2.0], ["a", "b"])
    with pytest.raises(ValueError, match="2 units, but 3 labels"):
        Groups.of([1.0], [2.0], ["a", "b", "c"])


def test_many_units_in_blocks_are_drawn_and_agree_with_least_squares():
    draw = np.random.default_rng(2)
    one, other = draw.normal(size=16), draw.normal(0.5, size=16)
    blocks = [number % 2 for number in range(16)] * 2
    shifted = np.concatenate([one, other]) + 5 * np.array(blocks)
    found = permutation_test(Groups.of(shifted[:16], shifted[16:], blocks))
    assert not found.exact
    theirs = least_squares(shifted, [True] * 16 + [False] * 16, [str(block) for block in blocks]).fit()
    assert found.p == pytest.approx(theirs.pvalues["first"], abs=0.02)


def test_five_percent_of_trials_without_effect_are_called_out_at_most():
    draw, called, covered = np.random.default_rng(4), 0, 0
    for _ in range(600):
        values = draw.normal(size=12) + np.array([0, 3] * 6)
        groups = Groups.of(values[:6], values[6:], [0, 1] * 6)
        called += permutation_test(groups).p < 0.05
        low, high = apart(groups).ci95
        covered += low < 0 < high
    assert called / 600 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert abs(covered / 600 - 0.95) < 0.03


def test_assignment_is_even_in_every_fold():
    for draw in range(20):
        control, treated = assignment(list(range(10)), 2, draw, 2)
        assert len(control) == len(treated) == 5
        assert {sum(seed % 2 for seed in own) for own in (control, treated)} == {2, 3}
    treated = [3 in assignment(list(range(10)), 2, draw, 2)[1] for draw in range(400)]
    assert 0.52 < np.mean(treated) < 0.68  # three of the five odd seeds are treated


def test_assignment_is_random_equal_and_always_the_same():
    assert assignment([0, 1, 2, 3], 2, 0) == assignment([0, 1, 2, 3], 2, 0)
    assert sorted(sum(assignment(list(range(10)), 3, 5), ())) == list(range(10))
    assert [len(own) for own in assignment(list(range(10)), 3, 5)] == [4, 3, 3]
    treated = [7 in assignment(list(range(10)), 2, draw)[1] for draw in range(400)]
    assert 0.42 < np.mean(treated) < 0.58


def test_the_assignment_stands_in_the_design():
    class Context:
        settled = staticmethod(lambda _: {"lam": 1.0, "eps": 0.1, "step_size": 0.1})
        folds = 2

    design = RandomisedTrial(targets=8, draw=3, first_seed=100).design(Context)
    control, treated = design.arms
    assert sorted((*control.seeds, *treated.seeds)) == list(range(100, 108))
    assert design.notes["assignment"] == {"control": list(control.seeds), "treated": list(treated.seeds)}
    assert design.notes["folds"] == 2
    assert [sum(seed % 2 for seed in arm.seeds) for arm in design.arms] == [2, 2]
    assert dict(control.params) == {"lam": 0.0}
    assert dict(treated.params) == {}


def simulated(draw, n=160, clusters=16, precision=30.0):
    x = draw.uniform(-1, 1, (n, 2))
    mean = expit(0.3 + x @ np.array([1.2, -0.6]))
    return draw.beta(mean * precision, (1 - mean) * precision), x, np.arange(n) % clusters


def test_beta_regression_recovers_planted_coefficients():
    y, x, clusters = simulated(np.random.default_rng(3), n=3000)
    fit = fit_beta(y, x, ["a", "b"], clusters)
    assert fit.coefficients == pytest.approx([0.3, 1.2, -0.6], abs=0.05)
    assert fit.precision == pytest.approx(30, rel=0.1)
    assert fit.interval("a")[0] < 1.2 < fit.interval("a")[1]


def test_marginal_effects_are_derivatives_of_the_mean_and_their_error_that_of_the_delta_method():
    y, x, _ = simulated(np.random.default_rng(4))
    fit = fit_beta(y, x, ["a", "b"])
    step = 1e-5
    for place, effect in enumerate(marginal_effects(fit)):
        moved = x.copy()
        moved[:, place] += step
        assert effect.value == pytest.approx((fit.predict(moved) - fit.predict(x)).mean() / step, rel=1e-3)

        def at(coefficients, name=effect.name):
            other = BetaFit(fit.names, coefficients, fit.covariance, fit.precision, fit.x_NK)
            return next(one.value for one in marginal_effects(other) if one.name == name)

        gradient = np.array([(at(fit.coefficients + step * e) - at(fit.coefficients)) / step for e in np.eye(3)])
        assert effect.error == pytest.approx(np.sqrt(gradient @ fit.covariance @ gradient), rel=1e-3)
        assert effect.cost == 1 / effect.value
        low, high = effect.cost_ci95
        assert (low + high) / 2 == pytest.approx(effect.cost)
        assert (high - low) / 2 == pytest.approx(1.959964 * effect.error / effect.value**2, rel=1e-3)


def test_intervals_hold_as_often_as_they_say_in_a_few_simulations():
    """The whole of it, 400 simulations, is benchmarks/beta_regression.py; the plugin's readme has its table."""
    hits = []
    truth = None
    for number in range(40):
        y, x, _ = simulated(np.random.default_rng(100 + number))
        fit = fit_beta(y, x, ["a", "b"])
        mean = expit(0.3 + x @ np.array([1.2, -0.6]))
        truth = 1.2 * (mean * (1 - mean)).mean()
        low, high = marginal_effects(fit)[0].ci95
        hits.append(low <= truth <= high)
    assert np.mean(hits) >= 0.85


def test_resampled_clusters_spread_as_the_delta_method_says():
    y, x, clusters = simulated(np.random.default_rng(5))
    fit = fit_beta(y, x, ["a", "b"], clusters)
    drawn = bootstrap_effects(y, x, ["a", "b"], clusters, draws=120)
    assert drawn.shape == (120, 2)
    for place, effect in enumerate(marginal_effects(fit)):
        assert drawn[:, place].std() == pytest.approx(effect.error, rel=0.5)
        assert drawn[:, place].mean() == pytest.approx(effect.value, abs=0.02)


def test_fractions_are_squeezed_only_where_they_have_to_be():
    assert squeezed([0.2, 0.9]) == pytest.approx([0.2, 0.9])
    assert squeezed([-0.1, 0.5, 1.0, 1.2]) == pytest.approx([0.125, 0.5, 0.875, 0.875])


def test_linear_models_collinearity_and_left_out_defenses():
    draw = np.random.default_rng(6)
    x = draw.normal(size=(60, 2))
    near = np.column_stack([x, x[:, 0] + 0.01 * draw.normal(size=60)])
    clusters = np.arange(60) // 6
    y = 0.5 * x[:, 0] + 0.01 * draw.normal(size=60)
    fit = fit_linear(y, x, ["a", "b"], clusters)
    assert fit.coefficients[1] == pytest.approx(0.5, abs=0.01)
    assert fit.free == 9
    factors = inflation(near, ["a", "b", "c"])
    assert factors["a"] > 100 > 2 > factors["b"]
    expected = 1 / (1 - np.corrcoef(near[:, 1], _regressed(near[:, 1], near[:, [0, 2]]))[0, 1] ** 2)
    assert factors["b"] == pytest.approx(expected, rel=1e-3)
    assert left_out_error(y, x, clusters, predict_linear) < 0.02
    by_hand = np.mean([abs(y[i] - y[clusters != clusters[i]].mean()) for i in range(60)])
    assert left_out_error(y, x, clusters, predict_mean) == pytest.approx(by_hand)


def _regressed(y, x):
    design = np.column_stack([np.ones(len(x)), x])
    return design @ np.linalg.lstsq(design, y, rcond=None)[0]


def test_rank_correlation_and_its_interval():
    draw = np.random.default_rng(7)
    x = draw.normal(size=30)
    y = x + draw.normal(size=30)
    found = spearman([*x, np.nan], [*y, 1.0])
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.pairs == 30
    z = np.arctanh(found.value)
    half = 1.959964 * np.sqrt((1 + found.value**2 / 2) / 27)
    assert found.interval == pytest.approx((np.tanh(z - half), np.tanh(z + half)), rel=1e-5)
    assert spearman([1, 1, 1], [1, 2, 3]).interval is None
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), rel=1e-4)
    assert mean_interval([1.0]) is None


def test_a_worst_case_is_over_the_attacks_that_most_targets_met():
    cells = [made.cell("a", seed, leakage=1, attack="map") for seed in (0, 1)] + [
        made.cell("b", 0, leakage=2, attack="map")
    ]
    strong = made.cell("a", 0, leakage=9, attack="rare")
    other = made.cell("c", 0, leakage=3, attack="else")
    evidence = made.evidence([*cells, strong, other])
    targets = targets_frame(evidence)
    assert list(zip(targets["arm"], targets["seed"], targets["leakage"], strict=True)) == [
        ("a", 0, 1),
        ("a", 1, 1),
        ("b", 0, 2),
    ]
    assert attack_notes(evidence) == (
        "Worst case over map.",
        "Not all targets met rare, else, which are left out.",
        "1 targets did not meet all of these and are left out.",
    )


def test_frames_have_one_row_for_each_cell_target_and_arm():
    evidence = made.mechanism(direction=1.0)
    cells, targets = cells_frame(evidence), targets_frame(evidence)
    assert (len(cells), len(targets)) == (14, 7)
    worst = cells[cells["arm"] == "atat"]["leakage"].max()
    assert targets.set_index("arm")["leakage"]["atat"] == worst
    assert list(arms_frame(targets)["seeds"]) == [1] * 7
    assert attack_notes(evidence) == ("Worst case over map, ppa.",)
    table = as_table(pd.DataFrame({"a": [1, None], "b": ["x", "y"]}), "both")
    assert table.rows == ((1.0, "x"), (None, "y"))
    assert as_frames({"t": table})["t"]["b"].tolist() == ["x", "y"]
