"""What identities and views are drawn from, against the moments of their distributions."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.identity import _HAIR, _IRIS, _SKIN_RAMP, STYLES, sample_coarse, sample_identity
from mibench_datasets.rendered_faces.view import sample_view
from numpy.testing import assert_allclose

HEAD = SimpleNamespace(
    slider_names=("nose/a", "nose/b", "ears/a", "eyes/a", "chin/one-sided"),
    slider_two_sided_S=np.array([True, True, True, True, False]),
)
SPREAD = 0.25
COUNT = 1500


@cache
def people(groups=1, spread=SPREAD):
    return [
        sample_identity(HEAD, seed=5, number=number, coarse_groups=groups, shape_spread=spread)
        for number in range(COUNT)
    ]


def stacked(attribute, **how):
    return np.array([getattr(person, attribute) for person in people(**how)], np.float64)


def within(values, mean, variance, sigmas=4.5):
    """Tell whether a sample mean is where the central limit theorem says."""
    return np.abs(values.mean(0) - mean) < sigmas * np.sqrt(variance / len(values))


def test_sliders_are_normal_of_their_spread_and_calmer_for_ears_and_eyes():
    sliders = stacked("sliders_S")
    spread = SPREAD * np.array([1, 1, 0.5, 0.8])
    assert within(sliders[:, :4], 0, spread**2).all()
    assert_allclose(sliders[:, :4].std(0), spread, rtol=0.08)  # 4.5 sigma; four spreads are cut off at 1
    one_sided = sliders[:, 4]
    assert one_sided.min() >= 0
    assert within(one_sided, SPREAD * np.sqrt(2 / np.pi), SPREAD**2 * (1 - 2 / np.pi))
    assert np.abs(np.corrcoef(sliders.T) - np.eye(5)).max() < 0.12


def test_sliders_are_cut_off_at_their_ends():
    wide = np.array([person.sliders_S for person in people(spread=2.0)])
    assert np.abs(wide).max() == 1
    # P(|N(0, 2)| > 1) = .617
    assert (np.abs(wide[:, 0]) == 1).mean() == pytest.approx(0.617, abs=0.06)


def test_macros_are_a_product_of_ethnicity_sex_and_age():
    macros = stacked("macros_M").reshape(-1, 3, 2, 2)
    assert_allclose(macros.sum((1, 2, 3)), 1, atol=1e-5)
    ethnicity, sex, age = macros.sum((2, 3)), macros.sum((1, 3)), macros.sum((1, 2))
    assert_allclose(macros, np.einsum("ne,ns,na->nesa", ethnicity, sex, age), atol=1e-5)
    # Dirichlet(.6, .6, .6): mean 1/3, variance (1/3)(2/3) / 2.8
    assert within(ethnicity, 1 / 3, 2 / 9 / 2.8).all()
    assert_allclose(ethnicity.var(0), 2 / 9 / 2.8, rtol=0.15)
    # the share of age is U^1.5: mean 1 / 2.5, second moment 1 / 4
    assert within(age[:, 1], 0.4, 0.25 - 0.16)
    assert (age[:, 1] < 0.5).mean() == pytest.approx(0.5 ** (2 / 3), abs=0.06)


@pytest.mark.parametrize("beard", [False, True])
def test_sex_is_beta_and_who_wears_a_beard_is_male(beard, monkeypatch):
    coarse = SimpleNamespace(beard=beard)
    monkeypatch.setattr("mibench_datasets.rendered_faces.identity.sample_coarse", lambda seed, group: coarse)
    drawn = [
        sample_identity(HEAD, seed=1, number=number, coarse_groups=1, shape_spread=SPREAD) for number in range(COUNT)
    ]
    male = np.array([person.macros_M for person in drawn], np.float64).reshape(-1, 3, 2, 2).sum((1, 3))[:, 1]
    # Beta(.6, .6): mean 1/2, variance .25 / 2.2
    low, scale = (0.6, 0.4) if beard else (0.0, 1.0)
    assert male.min() >= low - 1e-6
    assert within(male, low + scale / 2, scale**2 * 0.25 / 2.2)
    assert male.var() == pytest.approx(scale**2 * 0.25 / 2.2, rel=0.12)


def test_brows_and_hairlines_are_uniform_and_groups_equally_likely():
    for values in (stacked("brows_3"), stacked("hairline_2")):
        assert within(values, 0, 1 / 3).all()
        assert_allclose(values.var(0), 1 / 3, rtol=0.1)
        assert np.abs(values).max() <= 1
    groups = np.bincount([person.group for person in people(groups=4)], minlength=4)
    assert len(groups) == 4
    assert ((groups - COUNT / 4) ** 2 / (COUNT / 4)).sum() < 21  # chi square with 3 degrees of freedom, p = 1e-4
    assert all(person.coarse is not None and person.group == 0 for person in people())


def test_an_identity_depends_on_its_number_seed_and_parameters_alone():
    again = sample_identity(HEAD, seed=5, number=7, coarse_groups=1, shape_spread=SPREAD)
    assert np.array_equal(again.latent(), people()[7].latent())
    assert len(again.latent()) == 5 + 12 + 3 + 2
    assert np.array_equal(again.latent()[:5], again.sliders_S)
    assert np.array_equal(again.latent()[-5:], [*again.brows_3, *again.hairline_2])
    other = sample_identity(HEAD, seed=6, number=7, coarse_groups=1, shape_spread=SPREAD)
    assert not np.array_equal(other.latent(), again.latent())
    assert len({person.latent().tobytes() for person in people()}) == COUNT


def tone_of(skin):
    """Return where on the ramp a skin colour lies."""
    grid = np.linspace(0, len(_SKIN_RAMP) - 1, 4001)
    ramp = np.stack([np.interp(grid, range(len(_SKIN_RAMP)), _SKIN_RAMP[:, c]) for c in range(3)], 1)
    return grid[((ramp - skin) ** 2).sum(1).argmin()]


@pytest.mark.parametrize("seed", range(4))
def test_tones_follow_the_golden_ratio_and_cover_the_range(seed):
    tones = np.array([tone_of(sample_coarse(seed, group).skin_3) for group in range(8)])
    steps = np.diff(tones / 4) % 1
    assert_allclose(steps, 0.6180339887, atol=1e-3)
    gaps = np.diff(np.sort(tones / 4), append=np.sort(tones / 4)[0] + 1)
    assert gaps.max() < 0.24  # eight points at random leave one of this size two times out of three


def test_styles_take_turns_and_long_hair_goes_without_a_beard():
    for seed in range(5):
        styles = [sample_coarse(seed, group).style for group in range(8)]
        assert sorted(styles[:4]) == sorted(STYLES)
        assert styles[:4] == styles[4:]
    drawn = [sample_coarse(seed, group) for seed in range(150) for group in range(4)]
    assert not any(one.beard for one in drawn if one.style == "long")
    others = [one.beard for one in drawn if one.style != "long"]
    assert np.mean(others) == pytest.approx(0.5, abs=0.11)


def test_fair_people_have_hair_and_eyes_of_all_colours_and_dark_ones_dark():
    drawn = [sample_coarse(seed, group) for seed in range(300) for group in range(4)]
    fair = np.array([tone_of(one.skin_3) < 1.6 for one in drawn])

    def hair_of(one):
        ratios = one.hair_3 / _HAIR
        return int(ratios.std(1).argmin())

    hair = np.array([hair_of(one) for one in drawn])
    iris = np.array([int((one.iris_3 == _IRIS).all(1).argmax()) for one in drawn])
    for chosen, hairs, irises in (
        (fair, [0.2, 0.3, 0.25, 0.15, 0.1], [0.4, 0.35, 0.25]),
        (~fair, [0.75, 0.2, 0, 0, 0.05], [1, 0, 0]),
    ):
        count = chosen.sum()
        for found, expected in ((hair[chosen], hairs), (iris[chosen], irises)):
            shares = np.bincount(found, minlength=len(expected)) / count
            limits = 4.5 * np.sqrt(np.array(expected) * (1 - np.array(expected)) / count)
            assert (np.abs(shares - expected) <= limits + 1e-9).all()
    shades = np.array([(one.hair_3 / _HAIR[hair_of(one)])[0] for one in drawn])
    assert 0.9 <= shades.min() < 0.92 < 1.13 < shades.max() <= 1.15 + 1e-6


# Views

FACES = load_head()


@cache
def views():
    return [sample_view(FACES, seed=3, number=number, index=index) for number in range(50) for index in range(20)]


@pytest.mark.parametrize(("angle", "spread", "end"), [("yaw", 0.25, 0.6), ("pitch", 0.1, 0.25), ("roll", 0.05, 0.15)])
def test_poses_are_normal_and_cut_off(angle, spread, end):
    values = np.array([getattr(view, angle) for view in views()])
    assert within(values, 0, spread**2)
    assert values.std() == pytest.approx(spread, rel=0.1)
    assert np.abs(values).max() <= end


def test_place_light_and_camera_have_the_ranges_they_were_given():
    shift = np.array([view.shift_2 for view in views()], np.float64)
    assert within(shift, 0, 0.012**2).all()
    assert_allclose(shift.std(0), 0.012, rtol=0.1)
    for name, low, high in (("zoom", 0.96, 1.05), ("ambient", 0.36, 0.52), ("noise", 1, 3)):
        values = np.array([getattr(view, name) for view in views()])
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
        assert within(values, (low + high) / 2, (high - low) ** 2 / 12)
    gaze = np.array([view.gaze_2 for view in views()], np.float64)
    assert_allclose(gaze.std(0), 0.12, rtol=0.1)


def test_light_comes_from_the_front_and_rather_from_above():
    light = np.array([view.light_3 for view in views()], np.float64)
    slope = light / light[:, 2:]  # sideways and up for a unit ahead
    assert light[:, 2].min() > 0
    assert within(slope[:, 0], 0, 0.36)
    assert slope[:, 0].std() == pytest.approx(0.6, rel=0.1)
    assert -0.1 - 1e-6 <= slope[:, 1].min() < -0.08 < 0.78 < slope[:, 1].max() <= 0.8 + 1e-6


def test_the_tint_is_about_white_and_backgrounds_are_about_grey():
    tint = np.array([view.tint_3 for view in views()], np.float64)
    level = tint.mean(1)
    assert level.mean() == pytest.approx(0.98, abs=0.01)
    assert (tint - level[:, None]).std() == pytest.approx(0.02 * np.sqrt(2 / 3), rel=0.1)
    ends = np.array([view.background_23 for view in views()], np.float64)
    assert ends.min() >= 20
    assert ends.max() <= 235
    assert ends.mean() == pytest.approx(130, abs=4)
    assert (ends - ends.mean(2, keepdims=True)).std() == pytest.approx(12 * np.sqrt(2 / 3), rel=0.1)
    assert np.corrcoef(ends[:, 0].mean(1), ends[:, 1].mean(1))[0, 1] == pytest.approx(0, abs=0.15)
    turn = np.array([view.slope_2 for view in views()], np.float64)
    assert within(turn, 0, 0.5).all()


def test_a_quarter_is_neutral_and_the_others_move_two_units_and_their_mirror_images():
    weights = np.array([view.expression_E for view in views()], np.float64)
    names = FACES.expression_names
    mirror = {i: names.index(n.replace("left", "right")) for i, n in enumerate(names) if "-left-" in n}
    mirror |= {j: i for i, j in mirror.items()}
    neutral = ~weights.any(1)
    assert neutral.mean() == pytest.approx(0.25, abs=0.06)
    for row in weights[~neutral]:
        units = set(row.nonzero()[0])
        assert 2 <= len(units) <= 4
        assert len({min(unit, mirror.get(unit, unit)) for unit in units}) in (1, 2)
        for unit in units & mirror.keys():
            low, high = sorted((row[unit], row[mirror[unit]]))
            assert low >= 0.8 * high - 1e-6
    used = weights[weights > 0]
    assert used.min() >= 0.08 - 1e-6
    assert used.max() <= 0.6
    assert (weights.any(0)).mean() > 0.9  # nearly every unit occurs
