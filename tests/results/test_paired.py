"""Paired comparisons against scipy, closed forms and hand calculations."""

from __future__ import annotations

import numpy as np
import pytest
from record_factory import make_record, metric

from mibench.results.families import holm, smallest_difference
from mibench.results.intervals import class_interval
from mibench.results.paired import Comparison, compare
from mibench.results.people import Scores, Stratum, make_scores, scores_of
from mibench.results.permutation import sign_flip
from mibench.results.resampling import people_counts, picks, seed_counts
from mibench.results.spread import Spread, degrees, spread
from mibench.results.worst_case import resampled_means, worst_case

stats = pytest.importorskip("scipy.stats")

RNG = np.random.default_rng(7)
SEEDED = pytest.mark.skipif(
    tuple(map(int, pytest.importorskip("scipy").__version__.split(".")[:2])) < (1, 15), reason="scipy 1.15 takes rng"
)


def one_attack(*runs: dict[int, float]) -> Scores:
    return make_scores({"ppa": dict(enumerate(runs))})


def many(attacks: int, seeds: int, people: int, rng: np.random.Generator = RNG) -> Scores:
    values_ASP = rng.normal(size=(attacks, seeds, people))
    return Scores(tuple(map(str, range(attacks))), tuple(range(seeds)), tuple(range(people)), values_ASP)


def test_one_seed_and_one_attack_are_the_paired_t_test() -> None:
    x, y = RNG.normal(size=20), RNG.normal(0.3, 1.0, 20)
    made = compare(one_attack(dict(enumerate(x))), one_attack(dict(enumerate(y))))
    theirs = stats.ttest_rel(x, y)
    assert made
    assert made.value == pytest.approx((x - y).mean())
    assert made.p == pytest.approx(theirs.pvalue)
    assert made.ci95 == pytest.approx(tuple(theirs.confidence_interval()))
    assert made.p_above == pytest.approx(stats.ttest_rel(x, y, alternative="greater").pvalue)


@SEEDED
def test_people_are_resampled_together_as_by_scipy() -> None:
    """scipy's paired bootstrap of the difference of two maxima has the quantiles of the one over these resamples."""
    one, other = many(3, 1, 25), many(3, 1, 25)
    ours = resampled_means(one, 4000).max(axis=0) - resampled_means(other, 4000).max(axis=0)
    columns = tuple(np.vstack([one.people_AP, other.people_AP]))

    def difference(*values: np.ndarray, axis: int = -1) -> np.ndarray:
        means = np.stack([value.mean(axis=axis) for value in values])
        return means[:3].max(axis=0) - means[3:].max(axis=0)

    theirs = stats.bootstrap(
        columns, difference, paired=True, vectorized=True, n_resamples=4000, method="percentile", rng=1
    )
    low, high = np.quantile(ours, (0.025, 0.975))
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.05)
    assert ours.std() == pytest.approx(theirs.standard_error, rel=0.05)


@SEEDED
@pytest.mark.parametrize(("people", "slack"), [(10, 1e-12), (22, 0.006)])
def test_exchanges_are_those_of_scipy(people: int, slack: float) -> None:
    x, y = RNG.normal(size=people), RNG.normal(0.4, 1.0, people)
    theirs = stats.permutation_test(
        (x - y,), np.mean, permutation_type="samples", n_resamples=20_000 if people > 16 else np.inf, rng=2
    )
    assert sign_flip(one_attack(dict(enumerate(x))), one_attack(dict(enumerate(y)))) == pytest.approx(
        theirs.pvalue, abs=slack
    )


def test_exchanges_go_over_all_attacks_of_a_person_at_once() -> None:
    one, other = many(2, 1, 6), many(2, 1, 6)
    a, b = one.people_AP, other.people_AP
    observed, hits = abs(a.mean(axis=1).max() - b.mean(axis=1).max()), 0
    for number in range(64):
        swap = np.array([number >> place & 1 for place in range(6)], dtype=bool)
        mine, theirs = np.where(swap, b, a), np.where(swap, a, b)
        hits += abs(mine.mean(axis=1).max() - theirs.mean(axis=1).max()) >= observed - 1e-12
    assert sign_flip(one, other) == hits / 64


def test_the_standard_error_is_that_of_crossed_random_effects() -> None:
    """Mean squares of people, seeds and rest: V = (MP + MS - MR / 2) / (P S), each by hand."""
    people, seeds = 12, 4
    values = RNG.normal(size=people) + RNG.normal(size=seeds)[:, None] + RNG.normal(size=(seeds, people))
    grand, rows, columns = values.mean(), values.mean(axis=0), values.mean(axis=1)
    of_people = seeds * ((rows - grand) ** 2).sum() / (people - 1)
    of_seeds = people * ((columns - grand) ** 2).sum() / (seeds - 1)
    rest = ((values - rows - columns[:, None] + grand) ** 2).sum() / ((people - 1) * (seeds - 1))
    both = of_people + of_seeds - rest / 2
    df = both**2 / (of_people**2 / (people - 1) + of_seeds**2 / (seeds - 1))
    found = spread(values, [Stratum(tuple(range(seeds)), tuple(range(people)))])
    assert of_seeds > rest / 2
    assert found == pytest.approx(Spread(np.sqrt(both / (people * seeds)), df))
    assert found
    assert found.half_width == pytest.approx(found.error * stats.t.ppf(0.975, df))


def test_seeds_that_do_not_matter_leave_the_people() -> None:
    rest = np.tile([[0.5, -0.5], [-0.5, 0.5]], 5)
    values = np.arange(10.0) + rest  # both seeds have the same mean
    found = spread(values, [Stratum((0, 1), tuple(range(10)))])
    assert found == pytest.approx(Spread(np.arange(10.0).std(ddof=1) / np.sqrt(10), 9))


def test_what_is_taken_off_leaves_no_fewer_degrees_of_freedom_than_the_seeds_have() -> None:
    """Two seeds turn the sign of everybody, so people do not differ: half of the rest is almost all that seeds have."""
    first = np.array([1.0] * 7 + [-1.0] * 10 + [0.0] * 3)
    found = spread(np.vstack([first, -first]), [Stratum((0, 1), tuple(range(20)))])
    seeds, rest = 2 * 0.15**2, 2 * (17 - 20 * 0.15**2) / 19 / 20  # sums of squares: of seeds, and what the rest adds
    assert found == pytest.approx(Spread(np.sqrt((seeds - rest / 2) / 2), 1))
    made = compare(one_attack(*(dict(enumerate(np.maximum(row, 0))) for row in (first, -first))),
                   one_attack(*(dict(enumerate(np.maximum(row, 0))) for row in (-first, first))))  # fmt: skip
    assert made
    assert (made.value, made.p) == pytest.approx((0, 1))
    assert made.ci95
    assert made.ci95[1] == pytest.approx(found.error * 12.7062, rel=1e-5)  # t of one degree of freedom, from a table


@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_degrees_of_freedom_do_not_depend_on_the_unit(scale: float) -> None:
    assert degrees(3.0 * scale, (1.0 * scale, 19), (2.0 * scale, 2)) == pytest.approx(9 / (1 / 19 + 4 / 2))
    assert degrees(1.0 * scale, (1.0 * scale, 19), (2.0 * scale, 2)) == 2  # 1 / (1 / 19 + 4 / 2) by the formula
    assert degrees(1e-180 * scale, (1e-180 * scale, 19), (2.0 * scale, 2)) == 2


def test_two_folds_are_two_samples_of_people() -> None:
    """Seeds 0 and 2 have people 0-4, seed 1 has 5-9: without an effect of seeds it is the pooled variance over ten."""
    first, second = RNG.normal(size=5), RNG.normal(size=5) + 3
    fold = [{p: float(v) for p, v in zip(range(5), first, strict=True)}] * 2
    other = {p: float(v) for p, v in zip(range(5, 10), second, strict=True)}
    scores = make_scores({"ppa": {0: fold[0], 2: fold[1], 1: other}})
    assert scores.strata == (Stratum((0, 2), (0, 1, 2, 3, 4)), Stratum((1,), (5, 6, 7, 8, 9)))
    found = spread(scores.values_ASP[0], scores.strata)
    pooled = (((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()) / 8
    assert found == pytest.approx(Spread(np.sqrt(pooled / 10), 8))
    means = resampled_means(scores, 500)[0]
    assert means.mean() == pytest.approx((first.mean() + second.mean()) / 2, abs=0.1)


def test_people_are_matched_by_identity_and_not_by_class() -> None:
    """Two folds give label 0 to different people; the second row ran the seeds in another order of labels."""
    low = metric(0.5).model_copy(update={"per_class": [0.1, 0.2, 0.4]})
    high = metric(0.5).model_copy(update={"per_class": [0.4, 0.3, 0.2]})
    mine = make_record().model_copy(update={"classes": {"0": 7, "1": 8, "2": 9}, "metrics": {"reid@1": low}})
    theirs = make_record().model_copy(update={"classes": {"0": 9, "1": 8, "2": 7}, "metrics": {"reid@1": high}})
    made = compare(scores_of({"ppa": [mine]}, "reid@1"), scores_of({"ppa": [theirs]}, "reid@1"))
    assert made
    assert made.value == pytest.approx((-0.1 - 0.1 + 0.0) / 3)  # 7: .1 - .2, 8: .2 - .3, 9: .4 - .4
    assert made.people == 3


def test_only_what_both_have_is_compared() -> None:
    mine = make_scores({"a": {0: {1: 0.5, 2: 0.5}, 1: {1: 9.0, 2: 9.0}}, "b": {0: {1: 7.0, 2: 7.0}}})
    theirs = make_scores({"c": {0: {1: 8.0}}, "a": {0: {1: 0.25, 2: 0.5, 3: 6.0}}})
    made = compare(mine, theirs)
    assert made
    assert (made.attacks, made.seeds, made.people, made.value) == (("a",), (0,), 2, pytest.approx(0.125))
    assert compare(mine, make_scores({"c": {0: {1: 1.0}}})) is None
    assert compare(mine, make_scores({"a": {0: {3: 1.0}}})) is None
    assert compare(mine, make_scores({"a": {2: {1: 1.0}}})) is None


def test_an_attack_on_one_fold_alone_is_no_worst_case() -> None:
    full = {0: {1: 0.1, 2: 0.3}, 1: {3: 0.2, 4: 0.4}}
    part = {0: {1: 0.9, 2: 0.9}}
    made = compare(make_scores({"a": full, "b": part}), make_scores({"a": full, "b": part}))
    assert made
    assert (made.attacks, made.people, made.value) == (("a",), 4, 0.0)


def test_worst_attacks_of_other_seeds_are_compared_on_the_seeds_of_both() -> None:
    """By hand: a of seeds 0 and 1 against b of seed 0. Seed 1, which is not in the error, is not in the value."""
    ours = {"a": {0: {1: 0.5, 2: 0.7, 3: 0.9}, 1: {1: 0.9, 2: 0.9, 3: 0.9}}, "b": {0: {1: 0.1, 2: 0.1, 3: 0.1}}}
    theirs = {"a": {0: {1: 0.1, 2: 0.1, 3: 0.1}, 1: {1: 0.1, 2: 0.1, 3: 0.1}}, "b": {0: {1: 0.4, 2: 0.5, 3: 0.9}}}
    made = compare(make_scores(ours), make_scores(theirs))
    assert made
    assert made.seeds == (0,)
    assert made.value + made.bias == pytest.approx((0.1 + 0.2 + 0.0) / 3)
    t = stats.ttest_rel([0.5, 0.7, 0.9], [0.4, 0.5, 0.9])
    low, high = t.confidence_interval()
    assert made.ci95
    assert made.ci95[1] - made.ci95[0] == pytest.approx(high - low)


def test_a_maximum_on_each_side_is_compared_and_its_bias_taken_off() -> None:
    one, other = many(6, 3, 30), many(1, 3, 30)
    other = Scores(one.attacks, other.seeds, other.people, np.repeat(other.values_ASP, 6, axis=0))
    made, alone = compare(one, other), worst_case(one)
    assert made
    assert alone
    assert made.value + made.bias == pytest.approx(alone.value - other.people_AP[0].mean())
    means, lone = resampled_means(one), resampled_means(other)[0]
    assert made.bias == pytest.approx(means.max(axis=0).mean() - lone.mean() - (made.value + made.bias))
    assert 0 < made.bias < 0.3


def test_swapping_the_rows_turns_the_sign() -> None:
    one, other = many(3, 3, 15), many(3, 3, 15)
    there, back = compare(one, other), compare(other, one)
    assert there
    assert back
    assert there.ci95
    assert back.ci95
    assert (there.value, there.p) == pytest.approx((-back.value, back.p))
    assert there.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))
    assert (there.p or 0) < 0.05 or there.ci95[0] < 0 < there.ci95[1]


def comparison(value: float, error: float, people: int = 4) -> Comparison:
    return Comparison(value, 0.0, Spread(error, people - 1), ("a",), (0,), people)


def test_people_who_all_differ_alike_say_no_more_than_their_signs() -> None:
    assert comparison(0.2, 0.0).p == 2 * 0.5**4
    assert comparison(-0.2, 0.0).p == 2 * 0.5**4
    assert comparison(0.0, 0.0).p == 1.0


def test_one_person_has_no_interval() -> None:
    made = compare(one_attack({1: 0.5}), one_attack({1: 0.1}))
    assert made
    assert (made.value, made.ci95, made.p) == (pytest.approx(0.4), None, None)


def test_the_bias_of_a_maximum_is_what_resampling_adds() -> None:
    """Two attacks of equal mean over two people, (0, 1) and (1, 0): resamples have means (0, 1), (1, 0) or (.5, .5)."""
    made = worst_case(make_scores({"a": {0: {1: 0.0, 2: 1.0}}, "b": {0: {1: 1.0, 2: 0.0}}}))
    assert made
    assert made.value == 0.5
    assert made.bias == pytest.approx(0.25, abs=0.02)  # half of the resamples have a maximum of 1
    assert made.corrected == pytest.approx(0.25, abs=0.02)
    assert made.best == pytest.approx({"a": 0.75, "b": 0.25}, abs=0.03)  # of equals the first
    assert made.ci95 == (0.5, 1.0)


def test_one_attack_has_no_bias_and_the_interval_of_records() -> None:
    values = list(RNG.uniform(size=20))
    made = worst_case(one_attack(dict(enumerate(values))))
    assert made
    assert (made.bias, made.best) == (0.0, {"ppa": 1.0})
    assert made.ci95 == pytest.approx(class_interval(values))
    assert worst_case(make_scores({})) is None


def test_streams_are_frozen_and_folds_have_their_own() -> None:
    assert picks(2, 5).tolist() == [[0, 0, 4, 0, 2], [1, 3, 4, 1, 0]]  # published intervals are made of them
    assert not np.array_equal(picks(50, 8, 0), picks(50, 8, 1))
    scores = make_scores({"a": {0: {1: 0.1, 2: 0.2, 3: 0.3}, 2: {1: 0.1, 2: 0.2, 3: 0.3}, 1: {4: 0.5, 5: 0.6}}})
    people, seeds = people_counts(scores, 100), seed_counts(scores, 100)
    assert (people[:, :3].sum(axis=1) == 3).all()
    assert (people[:, 3:].sum(axis=1) == 2).all()
    assert scores.seeds == (0, 1, 2)
    assert (seeds[:, [0, 2]].sum(axis=1) == 2).all()
    assert (seeds[:, 1] == 1).all()


@pytest.mark.parametrize("number", [1, 2, 5, 12])
def test_holm_is_that_of_its_definition(number: int) -> None:
    p = RNG.uniform(size=number) ** 3
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(number, 0, -1)))
    assert np.array(holm(list(p)))[order] == pytest.approx(steps)
    wider = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(30, 30 - number, -1)))
    assert np.array(holm(list(p), 30))[order] == pytest.approx(wider)


def test_the_smallest_difference_is_found_in_four_of_five() -> None:
    """Power of the t test at that difference, from the noncentral t distribution."""
    found = Spread(0.3, 60)
    shift = smallest_difference(found) / found.error
    power = stats.nct.sf(stats.t.ppf(0.975, 60), 60, shift)
    assert power == pytest.approx(0.8, abs=0.01)
    assert smallest_difference(found) == pytest.approx(0.3 * np.sqrt(7.85), rel=0.03)  # E. g. 7.85 var: z .975 + z .8


def test_false_positives_and_coverage() -> None:
    """A quick version of benchmarks/paired_intervals.py: two equal rows of 20 people and three seeds."""
    rng, repetitions, covered = np.random.default_rng(3), 150, 0
    for _ in range(repetitions):
        people = np.sqrt(0.83) * rng.normal(size=20) + np.sqrt(0.17) * rng.normal(size=(2, 1, 20))
        seeds, rest = rng.normal(size=(2, 3, 1)), rng.normal(size=(2, 3, 20))
        values = np.sqrt(0.049) * people + np.sqrt(0.0003) * seeds + np.sqrt(0.026) * rest
        rows = [Scores(("a",), (0, 1, 2), tuple(range(20)), row[None]) for row in values]
        made = compare(rows[0], rows[1])
        covered += bool(made and made.ci95 and made.ci95[0] <= 0 <= made.ci95[1])
    assert 0.92 <= covered / repetitions <= 0.995
