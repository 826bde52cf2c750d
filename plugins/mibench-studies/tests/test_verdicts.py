"""Every verdict on records with a planted effect, and that it changes when the effect is taken away."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic as made
from mibench_studies.studies.cost_of_privacy import CostOfPrivacy
from mibench_studies.studies.dependency import DependencyStudy
from mibench_studies.studies.mechanism import Mechanism, nearest
from mibench_studies.studies.memorisation import MemorisationStudy
from mibench_studies.studies.randomised_trial import RandomisedTrial
from mibench_studies.studies.trade_off import TradeOff
from mibench_studies.studies.unseen_pixels import UnseenPixelsStudy
from mibench_studies.studies.utility_matched import UtilityMatched

from mibench.api import TooFewRecords

HOLDS, NOT, UNTOLD = "holds", "does not hold", "cannot be told"


def row(table, **wanted):
    for one in table.rows:
        found = dict(zip(table.columns, one, strict=True))
        if all(found[key] == value for key, value in wanted.items()):
            return found
    raise AssertionError(f"no row with {wanted}")


@pytest.mark.parametrize(
    ("planted", "answer"),
    [
        ({"direction": 1.0}, HOLDS),
        ({"wrong_labels": 1.0}, NOT),
        ({}, UNTOLD),
        ({"direction": 1.0, "accuracy": {"atat": 0.7}}, UNTOLD),  # not at equal accuracy
    ],
)
def test_mechanism(planted, answer):
    found = Mechanism().analyse(made.mechanism(**planted))
    assert found.answer == answer, found.verdict
    both = row(found.tables["comparisons"], attack="map", arm="atat", other="none")
    expected = planted.get("direction", 0) + planted.get("wrong_labels", 0)
    assert both["difference"] == pytest.approx(-expected, abs=0.15)


def test_mechanism_compares_settings_of_equal_accuracy_whatever_they_leak():
    evidence = made.mechanism(direction=1.0, accuracy={"atat": 0.7})
    draw = made.rng(9)
    twins = [
        made.cell(
            f"{cell.arm} x4",
            0,
            leakage=np.array(cell.metrics["bits"].per_class) + draw.normal(0, 0.1, made.PEOPLE),
            attack=cell.attack,
            accuracy=0.71,
        )
        for cell in evidence.cells
        if cell.arm.startswith("atat ")
    ]
    found = Mechanism(factors=(4.0,)).analyse(made.evidence([*evidence.cells, *twins]))
    assert found.answer == HOLDS, found.verdict
    used = row(found.tables["comparisons"], attack="map", arm="atat", other="atat no perturbation")
    assert used["settings"] == "atat against atat no perturbation x4"
    assert nearest({"atat": 0.7, "a": 0.9, "a x2": 0.75, "a x4": 0.5}) == {"atat": "atat", "a": "a x2"}


@pytest.mark.parametrize(
    ("planted", "answer"),
    [({}, HOLDS), ({"slope": 0.0, "own": 0.3}, NOT), ({"slope": 0.0}, UNTOLD), ({"of_accuracy": 3.0}, NOT)],
)
def test_trade_off(planted, answer):
    found = TradeOff().analyse(made.trade_off(**planted))
    assert found.answer == answer, found.verdict
    assert "robust_acc@8" not in found.tables["targets"].columns  # constant
    assert any("robust_acc@8: the same for all targets" in note for note in found.notes)
    if not planted:
        slope = row(found.tables["coefficients"], family="all", model="OLS", accuracy="without", column="robust_acc@1")
        assert slope["low"] < slope["coefficient"] < slope["high"]
        assert slope["coefficient"] == pytest.approx(0.7, abs=0.05)
        wrong = {(one[0], one[1]): one[2] for one in found.tables["errors"].rows}
        assert wrong["OLS", "robust accuracies"] < 0.2 * wrong["mean", ""]
        assert wrong["Beta", "robust accuracies"] < 0.2 * wrong["mean", ""]
        assert wrong["OLS", "accuracy alone"] > 0.8 * wrong["mean", ""]


def test_trade_off_needs_five_rows_for_each_coefficient():
    with pytest.raises(TooFewRecords, match=r"needs 20 trained targets .* and has 12: 8 missing.*study run made-up"):
        TradeOff().analyse(made.trade_off(seeds=1))
    with pytest.raises(TooFewRecords, match="needs 5 defenses among them and has 3: 2 missing"):
        TradeOff().analyse(made.trade_off(seeds=8, defenses=("none", "a", "b")))


@pytest.mark.parametrize(("planted", "answer"), [({}, HOLDS), ({"slope": -0.08}, UNTOLD)])
def test_cost_of_privacy(planted, answer):
    found = CostOfPrivacy(draws=100).analyse(made.trade_off(**planted))
    middle = row(found.tables["prices"], column="robust_acc@1")
    if not planted:
        assert middle["effect"] == pytest.approx(0.7, rel=0.15)
        assert middle["cost"] == pytest.approx(1 / middle["effect"])
        assert middle["cost low"] < middle["cost"] < middle["cost high"]
        assert found.answer == answer, found.verdict
    else:
        assert middle["effect"] < 0
        assert found.answer != HOLDS


@pytest.mark.parametrize(
    ("planted", "answer"), [({}, HOLDS), ({"corr": 0.0, "arms": 120}, NOT), ({"corr": 0.0, "arms": 8}, UNTOLD)]
)
def test_dependency(planted, answer):
    found = DependencyStudy().analyse(made.dependency(**planted))
    assert found.answer == answer, found.verdict


@pytest.mark.parametrize(
    ("planted", "answer"),
    [
        ({}, HOLDS),
        ({"effect": 0.0}, NOT),
        ({"random_direction": 0.0}, HOLDS),
        ({"random_direction": 0.4}, NOT),  # the treated leak less, but so do random directions
    ],
)
def test_randomised_trial(planted, answer):
    found = RandomisedTrial().analyse(made.trial(**planted))
    assert found.answer == answer, found.verdict
    main = row(found.tables["tests"], arm="treated", other="control")
    assert main["exact"] and main["least p"] == pytest.approx(2 / 252)
    if "effect" not in planted:
        assert main["permutation p"] == pytest.approx(2 / 252)
        assert main["odds ratio"] == pytest.approx((0.4 / 0.6) / (0.8 / 0.2), rel=0.15)
        assert main["Hedges g"] < -5


def test_a_trial_within_folds_sees_what_folds_hide():
    planted = made.trial(effect=0.1)
    seeds = {arm: list(range(5)) for arm in ("control", "treated")}
    places = [number % 5 for number in range(10)]
    cells = [
        made.cell(one.arm, n, leakage=one.leakage / 2 + 0.3 * (n % 2))
        for n, one in zip(places, planted.cells, strict=True)
    ]
    blind = RandomisedTrial().analyse(made.evidence(cells, list(seeds), {"assignment": seeds}))
    found = RandomisedTrial().analyse(made.evidence(cells, list(seeds), {"assignment": seeds, "folds": 2}))
    assert blind.answer != HOLDS
    assert found.answer == HOLDS, found.verdict
    main = row(found.tables["tests"], arm="treated", other="control")
    assert main["difference"] == pytest.approx(-0.05, abs=0.02)
    assert main["least p"] == pytest.approx(2 / 120)
    assert main["odds ratio"] == pytest.approx((0.466 / 0.534) / (0.52 / 0.48), rel=0.05)


def test_targets_hardly_better_than_guessing_say_nothing_about_dependency():
    evidence = made.dependency(arms=12)
    useless = made.cell("collapsed", 0, leakage=9.0, flags=("target-useless",), hsic_xz=0.0, hsic_xz_corrected=0.0)
    found = DependencyStudy().analyse(replace(evidence, cells=(*evidence.cells, useless)))
    assert "over 12 arms" in found.verdict
    assert any("collapsed" in note for note in found.notes)


def test_a_trial_too_small_is_refused():
    with pytest.raises(TooFewRecords, match="needs 4 targets in the arm 'control' and has 3: 1 missing"):
        RandomisedTrial().analyse(made.trial(n=3))


@pytest.mark.parametrize(
    ("planted", "answer"),
    [({}, HOLDS), ({"nearer": -0.2}, NOT), ({"nearer": 0.0}, UNTOLD), ({"memorised": -0.2}, UNTOLD)],
)
def test_memorisation(planted, answer):
    assert MemorisationStudy().analyse(made.memorisation(**planted)).answer == answer


@pytest.mark.parametrize(
    ("planted", "answer"),
    # 90 % of 4 096 pixels are a little less than 90 %, and count: (.8 + .4) / 2 is above a half, .4 is not
    [({}, NOT), ({"left": 0.1}, HOLDS), ({"left": 0.5}, UNTOLD), ({"left": 0.8, "deeper": 0.4}, NOT)],
)
def test_unseen_pixels(planted, answer):
    found = UnseenPixelsStudy().analyse(made.unseen(**planted))
    assert found.answer == answer, found.verdict


@pytest.mark.parametrize(
    ("planted", "answer"),
    [({}, HOLDS), ({"better": 0.0}, NOT), ({"accuracy": 0.7}, NOT)],  # better, but not at equal accuracy
)
def test_utility_matched(planted, answer):
    found = UtilityMatched().analyse(made.matched(**planted))
    assert found.answer == answer, found.verdict
    good, bad = (row(found.tables["matched"], defense=name) for name in ("good", "bad"))
    assert bad["difference"] == 0  # no setting of it is accurate enough, so plain training is its best
    assert bad["setting"] == "none"
    assert ("no setting of 2 defenses" in found.verdict) == (planted.get("accuracy") == 0.7)
    if not planted:
        assert good["difference"] == pytest.approx(-1, abs=0.15)
        assert good["setting"] == "good"
        assert good["area"] > good["matched"]
        front = {one[0]: one[4] for one in found.tables["arms"].rows}
        assert front["good"] and front["bad"] and not front["good lam=2"]  # it is beaten by bad in both


@pytest.mark.parametrize(("planted", "answer"), [({"better": 0.0}, NOT), ({"better": 0.0, "draw": 1.5}, UNTOLD)])
def test_what_matters_is_a_share_of_the_way_to_gold(planted, answer):
    """In units of another headline, a tenth of which is nothing, the verdict is the same."""
    for scale in (1.0, 0.1):
        assert UtilityMatched().analyse(made.matched(**planted, scale=scale)).answer == answer


def test_utility_matched_asks_for_floor_and_gold():
    evidence = made.matched()
    bare = [replace(cell, controls={}) for cell in evidence.cells]
    with pytest.raises(TooFewRecords, match="floor and gold"):
        UtilityMatched().analyse(replace(evidence, cells=tuple(bare)))
