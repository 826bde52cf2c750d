"""The lines of a run about each defense against plain training."""

import numpy as np
from record_factory import CLASSES, make_record, metric
from scipy import stats

from mibench.cli.gaps import gap_lines
from mibench.cli.tables import result_tables

NOISE = np.random.default_rng(1).normal(0, 0.05, CLASSES)


def record(defense: str, shift: float, seed: int = 0):
    plain = [float(value) for value in metric(0.6).per_class if value is not None]
    values = [value + shift + float(noise) * (shift != 0) for value, noise in zip(plain, NOISE, strict=True)]
    own = metric(0.6).model_copy(update={"per_class": values})
    return make_record(defense=defense, seed=seed, metrics={"reid@1": own})


def test_each_defense_is_paired_with_its_control_and_plain_training_has_no_line() -> None:
    [line] = gap_lines([record("none", 0.0), record("atat", -0.2)])
    low, high = stats.ttest_1samp(NOISE - 0.2, 0).confidence_interval()
    expected = f"atat minus undefended  {(NOISE - 0.2).mean():.2f} [{low:.2f} {high:.2f}]".replace("-0.", "-.")
    assert line.startswith(expected)
    assert line.endswith("paired over 12 people and 1 seed, so without the chance in training")


def test_seeds_of_a_defense_are_taken_together() -> None:
    [line] = gap_lines([record("atat", -0.2, seed) for seed in (0, 1, 2)])
    assert line.endswith("12 people and 3 seeds")


def test_settings_of_one_defense_are_told_apart_in_lines_and_in_the_table() -> None:
    plain, soft, hard = record("none", 0.0), record("atat", -0.1), record("atat", -0.2)
    settings = [
        make_record(defense="atat", params={"lam": lam}, metrics=dict(one.metrics))
        for one, lam in ((soft, 0.5), (hard, 2.0))
    ]
    lines = [line.partition("  ")[0] for line in gap_lines([plain, *settings])]
    assert lines == ["atat (lam=0.5) minus undefended", "atat (lam=2.0) minus undefended"]
    [table] = result_tables([plain, *settings])
    assert sorted(row[0] for row in table.rows) == ["atat (lam=0.5)", "atat (lam=2.0)", "none"]
    assert table.title.startswith("tiny@1.0 ")


def test_what_has_no_control_or_failed_has_no_line() -> None:
    alone = record("atat", -0.2)
    assert not list(gap_lines([alone.model_copy(update={"controls": {}})]))
    assert not list(gap_lines([alone.model_copy(update={"status": "failed"})]))
