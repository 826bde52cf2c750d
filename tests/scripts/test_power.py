"""Power: variance components against those of simulated worlds, the detectable difference against simulated tests."""

import importlib.util
import sys
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from record_factory import make_record, metric

from mibench.api.errors import UsageError
from mibench.results.io import save_record
from mibench.results.people import Stratum

ROOT = Path(__file__).parents[2]


def load():
    spec = importlib.util.spec_from_file_location("power", ROOT / "scripts/power.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["power"] = module
    spec.loader.exec_module(module)
    return module


power = load()


def drawn(rng, people, seeds, sd=(1.0, 0.5, 2.0)):
    """A table of seeds by people with known standard deviations of people, seeds and rest."""
    parts = rng.normal(size=people), rng.normal(size=(seeds, 1)), rng.normal(size=(seeds, people))
    return 3 + sum(size * part for size, part in zip(sd, parts, strict=True))


def whole(seeds, people):
    return [Stratum(tuple(range(seeds)), tuple(range(people)))]


def test_components_of_a_table_of_two_by_two_by_hand():
    """Means of people 1 and 5, of seeds 2 and 4; the rest is -+1: squares 4 of (2 - 1)(2 - 1) degrees."""
    table = np.array([[1.0, 3.0], [1.0, 7.0]])
    found = power.components(table, whole(2, 2))
    assert found == pytest.approx((8 - 4 / 2, 2 - 4 / 2, 4))


def test_components_are_right_on_average():
    rng = np.random.default_rng(0)
    found = np.mean([power.components(drawn(rng, 12, 4), whole(4, 12)) for _ in range(3000)], axis=0)
    assert found == pytest.approx([1.0, 0.25, 4.0], abs=0.05)


def test_components_are_those_of_another_analysis_of_variance():
    """Against sums of squares by projection: regress on people, on seeds, and on both, with least squares."""
    table = drawn(np.random.default_rng(1), 7, 3)
    seed, person = (index.ravel() for index in np.indices(table.shape))

    def left_over(*effects):
        columns = np.hstack([np.ones((21, 1)), *(np.eye(effect.max() + 1)[effect] for effect in effects)])
        fitted = columns @ np.linalg.lstsq(columns, table.ravel())[0]
        return float(((table.ravel() - fitted) ** 2).sum())

    rest = left_over(seed, person) / 12
    people, seeds = (left_over(seed) - left_over(seed, person)) / 6, (left_over(person) - left_over(seed, person)) / 2
    assert power.components(table, whole(3, 7)) == pytest.approx(((people - rest) / 3, (seeds - rest) / 7, rest))


def test_folds_are_averaged_by_their_people_and_gaps_are_left_out():
    rng = np.random.default_rng(2)
    one, other = drawn(rng, 6, 2), drawn(rng, 3, 3)
    table = np.full((5, 10), np.nan)
    table[:2, :6], table[2:, 6:9] = one, other
    table[2, 9] = 100.0  # this one lacks two seeds of three
    found = power.components(table, [Stratum((0, 1), tuple(range(6))), Stratum((2, 3, 4), (6, 7, 8, 9))])
    parts = power.components(one, whole(2, 6)), power.components(other, whole(3, 3))
    assert found == pytest.approx([(6 * a + 3 * b) / 9 for a, b in zip(*parts, strict=True)])


def test_one_seed_has_the_rest_among_people_and_knows_nothing_of_seeds():
    found = power.components(np.array([[1.0, 2.0, 6.0]]), whole(1, 3))
    assert found.people == pytest.approx(7)
    assert np.isnan(found[1:]).all()
    assert power.standard_error(found, power.Design(28, 1)) == pytest.approx(0.5)


def test_the_error_is_the_spread_of_simulated_means():
    rng, parts = np.random.default_rng(3), power.Components(1.0, 0.25, 4.0)
    for people, seeds in ((20, 1), (20, 3), (50, 2)):
        means = [drawn(rng, people, seeds).mean() for _ in range(4000)]
        expected = power.standard_error(parts, power.Design(people, seeds))
        assert expected == pytest.approx(sqrt(1 / people + 0.25 / seeds + 4 / (people * seeds)))
        assert np.std(means) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("people", "seeds"), [(12, 1), (40, 1), (12, 3)])
def test_the_detectable_difference_is_found_in_four_cases_of_five(people, seeds):
    """A t test of people's means over seeds, in worlds without an effect of seeds; its bound is scipy's."""
    stats = pytest.importorskip("scipy.stats")
    rng, parts = np.random.default_rng(4), power.Components(1.0, 0.0, 2.25)
    effect = power.detectable(parts, power.Design(people, seeds))
    shape = (4000, people)
    means = effect + rng.normal(size=shape) + 1.5 * rng.normal(size=(*shape, seeds)).mean(axis=2)
    t = means.mean(axis=1) / (means.std(axis=1, ddof=1) / sqrt(people))
    found = (abs(t) > stats.t.ppf(0.975, people - 1)).mean()
    assert found == pytest.approx(0.8, abs=0.03)


def test_seeds_that_matter_cannot_be_made_up_for_by_people():
    parts = power.Components(1.0, 0.25, 4.0)
    few, many, more_seeds = (power.detectable(parts, power.Design(*d)) for d in ((100, 3), (10_000, 3), (100, 10)))
    stats = pytest.importorskip("scipy.stats")
    bound = sqrt(0.25 / 3) * (stats.t.ppf(0.975, 2) + stats.t.ppf(0.8, 2))  # all that is left is two degrees of seeds
    assert many == pytest.approx(bound, rel=0.02)
    assert more_seeds < few
    assert power.detectable(parts._replace(seeds=-0.3), power.Design(20, 3)) == power.detectable(
        parts._replace(seeds=0.0), power.Design(20, 3)
    )


def records(*, seeds=3, effect=-0.5, up=False, people=12):
    """Records of one defense, and what must come out: differences have deviations 0.3 of people and 0.2 of the rest."""
    rng = np.random.default_rng(5)
    people_P, gap_P = rng.normal(size=people), effect + 0.3 * rng.normal(size=people)
    made, gaps = [], []
    for seed in range(seeds):
        plain = 5 + people_P + 0.1 * rng.normal(size=people)
        gap = gap_P + 0.2 * rng.normal(size=people)
        sign = -1 if up else 1
        values = {"own": plain + gap, "undefended": plain, "floor": people_P + 2, "gold": people_P + 6}
        columns = {
            name: metric(0.5, unit="bits", up=up).model_copy(update={"per_class": list(map(float, sign * found))})
            for name, found in values.items()
        }
        record = make_record(defense="atat", seed=seed)
        controls = {name: {"id_bits": columns[name]} for name in ("undefended", "floor", "gold")}
        made.append(record.model_copy(update={"metrics": {"id_bits": columns["own"]}, "controls": controls}))
        gaps.append(gap)
    return made, np.stack(gaps)


@pytest.mark.parametrize("up", [False, True])
def test_records_give_the_components_of_their_paired_differences_and_the_span(up):
    made, gaps = records(up=up)
    found = power.analyse(made, "id_bits")
    assert found.gaps == pytest.approx(power.components(gaps, whole(3, 12)))
    assert found.values.people > 5 * found.gaps.people  # people cancel in pairs
    assert (found.rows, found.span) == (1, pytest.approx(4))
    assert found.leak == pytest.approx(3, abs=0.1)


def test_the_undefended_target_itself_is_no_difference_and_defenses_are_averaged():
    one, gaps = records()
    none = [
        record.model_copy(
            update={
                "metrics": record.controls["undefended"],
                "cell": record.cell.model_copy(update={"defense": "none"}),
            }
        )
        for record in one
    ]
    both = power.analyse([*one, *none], "id_bits")
    assert both.rows == 1
    assert both.gaps == pytest.approx(power.components(gaps, whole(3, 12)))
    with pytest.raises(UsageError, match="not known of two people"):
        power.analyse(none, "id_bits")
    with pytest.raises(UsageError, match="two records of a seed"):
        power.analyse([*one, one[0]], "id_bits")


def test_a_defense_of_one_seed_does_not_count_beside_one_of_several():
    several, gaps = records()
    lone = records(seeds=1, effect=4.0)[0][0]
    lone = lone.model_copy(update={"cell": lone.cell.model_copy(update={"defense": "bido"})})
    both = power.analyse([*several, lone], "id_bits")
    assert both.rows == 1
    assert both.gaps == pytest.approx(power.components(gaps, whole(3, 12)))
    assert both.values == pytest.approx(power.analyse(several, "id_bits").values)
    alone = power.analyse([lone], "id_bits")
    assert alone.rows == 1
    assert alone.gaps.rest != alone.gaps.rest


def test_it_prints_what_it_computes(tmp_path, monkeypatch, capsys):
    made, gaps = records()
    for record in made:
        save_record(record, tmp_path / "run" / "records")
    arguments = ["power.py", str(tmp_path), "--people", "100", "--seeds", "3"]
    monkeypatch.setattr(sys, "argv", arguments)
    power.main()
    printed = capsys.readouterr().out
    parts, design = power.components(gaps, whole(3, 12)), power.Design(100, 3)
    error, least = power.standard_error(parts, design), power.detectable(parts, design)
    (line,) = [line.split() for line in printed.splitlines() if line.split()[:3] == ["id_bits", "100", "3"]]
    assert line[3:] == [
        f"{error:.3g}",
        f"{least:.3g}",
        f"{least / 4:.3g}",
        f"{least / power.analyse(made, 'id_bits').leak:.3g}",
    ]
    assert "one seed" not in printed
    monkeypatch.setattr(sys, "argv", [*arguments, "--attack", "nobody"])
    with pytest.raises(SystemExit):
        power.main()
    assert "no record is of these attacks" in capsys.readouterr().err


def test_records_of_several_protocols_are_refused(tmp_path):
    with pytest.raises(UsageError, match="got none"):
        power.read([tmp_path])
    record = records()[0][0]
    other = record.model_copy(update={"protocol": record.protocol.model_copy(update={"variant": "validation"})})
    for one in (record, other):
        save_record(one, tmp_path)
    with pytest.raises(UsageError, match=r"of one protocol, got tiny@1.0 \(test\), tiny@1.0 \(validation\)"):
        power.read([tmp_path])


def test_a_damaged_record_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "cut.json").write_text("{")
    monkeypatch.setattr(sys, "argv", ["power.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        power.main()
    assert f"error: {tmp_path / 'cut.json'} is not JSON" in capsys.readouterr().err
