"""Colours and regions of the surface by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from mibench_datasets.rendered_faces import appearance
from mibench_datasets.rendered_faces.appearance import (
    EYE_X,
    EYE_Y,
    EYE_Z,
    Surface,
    albedo,
    beard_field,
    brow_field,
    curtain_field,
    hair_volume,
    scalp_field,
)
from numpy.testing import assert_allclose

SKIN, HAIR, IRIS = (np.array(c, np.float32) for c in ([200, 150, 120], [60, 40, 20], [70, 104, 136]))
PARTS = ("skin", "eye-l", "eye-r", "teeth", "tongue", "hair")
AHEAD = np.zeros(2, np.float32)
CHIN, CHEEK, FOREHEAD, CROWN = (0.0, 6.2, 1.2), (0.42, 6.85, 1.0), (0.0, 7.6, 1.3), (0.0, 8.5, 0.3)


def person(style="bald", beard=False, brows=(0, 0, 0), hairline=(0, 0)):
    coarse = SimpleNamespace(skin_3=SKIN, hair_3=HAIR, iris_3=IRIS, style=style, beard=beard)
    return SimpleNamespace(coarse=coarse, brows_3=np.array(brows), hairline_2=np.array(hairline))


def colour(part, at, regions=(0, 0, 0), who=None, gaze=AHEAD):
    surface = Surface(np.array([at], np.float32), np.array([regions], np.float32), np.array([PARTS.index(part)]))
    return albedo(surface, who or person(), gaze, PARTS)[0].astype(float)


def at(*points):
    return np.array(points, np.float32)


def test_each_part_has_its_own_colour():
    assert_allclose(colour("teeth", (0, 0, 0)), [214, 207, 192])
    assert_allclose(colour("tongue", (0, 0, 0)), [150, 74, 72])
    both = Surface(np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), np.array([4, 3, 4]))
    assert albedo(both, person(), AHEAD, PARTS)[:, 0].tolist() == [150, 214, 150]


def test_plain_skin_has_the_groups_colour():
    assert_allclose(colour("skin", (0.05, 7.35, 1.3)), SKIN, rtol=2e-3)


def test_lips_ears_and_eyelids_change_the_colour_of_skin_by_their_weight():
    place = (0.05, 7.35, 1.3)
    tint, flush = np.array([0.86, 0.6, 0.6]), np.array([1.02, 0.9, 0.88])
    assert_allclose(colour("skin", place, (1, 0, 0)), SKIN * tint, rtol=1e-3)
    assert_allclose(colour("skin", place, (0.5, 0, 0)), SKIN * (1 + tint) / 2, rtol=2e-3)
    assert_allclose(colour("skin", place, (0, 1, 0)), SKIN * (1 + flush) / 2, rtol=2e-3)
    assert_allclose(colour("skin", place, (0, 0, 1)), SKIN * (0.3 + 0.7 * 0.72), rtol=2e-3)


def test_cheeks_and_nose_are_flushed_most_in_their_middle():
    middle = SKIN * (0.3 + 0.7 * np.array([1.02, 0.9, 0.88]))
    assert_allclose(colour("skin", CHEEK), middle, rtol=1e-3)
    assert_allclose(colour("skin", (-CHEEK[0], *CHEEK[1:])), middle, rtol=1e-3)
    assert_allclose(colour("skin", (0, 6.87, 1.6)), middle, rtol=1e-3)
    share = np.exp(-1.0)  # one width aside
    assert_allclose(colour("skin", (0.62, 6.85, 1.0)), SKIN + 0.7 * share * (SKIN * [0.02, -0.1, -0.12]), rtol=2e-3)


def test_the_iris_looks_where_the_gaze_does_and_the_pupil_is_in_its_middle():
    for side, name in ((1, "eye-l"), (-1, "eye-r")):

        def around(degrees, gaze=AHEAD, name=name, side=side):
            angle = np.radians(degrees)
            point = (side * EYE_X + 0.1 * np.sin(angle), EYE_Y, EYE_Z + 0.1 * np.cos(angle))
            return colour(name, point, gaze=gaze)

        assert_allclose(around(0), [14, 12, 12], atol=0.5)
        assert_allclose(around(20), IRIS * 0.9, atol=0.5)  # cos 20 is between .88 and .955
        assert_allclose(around(45), [222, 217, 212], atol=0.5)
        aside = np.array([np.tan(np.radians(20)), 0], np.float32)
        assert_allclose(around(20, aside), [14, 12, 12], atol=0.5)
        assert_allclose(around(0, aside), IRIS * 0.9, atol=0.5)
    up = np.array([0, np.tan(np.radians(20))], np.float32)
    angle = np.radians(20)
    assert_allclose(colour("eye-l", (EYE_X, EYE_Y + 0.1 * np.sin(angle), EYE_Z + 0.1 * np.cos(angle)), gaze=up),
                    [14, 12, 12], atol=0.5)  # fmt: skip


def test_the_edge_of_the_iris_is_half_way_at_its_threshold():
    angle = np.arccos(0.86)
    got = colour("eye-l", (EYE_X + np.sin(angle), EYE_Y, EYE_Z + np.cos(angle)))
    assert_allclose(got, (np.array([222, 217, 212]) + IRIS * 0.9) / 2, atol=0.7)


def test_hair_covers_the_scalp_of_those_who_have_it():
    bald, cropped, short = (colour("skin", CROWN, who=person(style)) for style in ("bald", "cropped", "short"))
    assert_allclose(bald, SKIN, rtol=1e-3)
    strands = appearance._strands(at(CROWN), HAIR)[0]
    assert_allclose(short, strands, rtol=1e-4)
    assert_allclose(cropped, SKIN + 0.75 * (strands - SKIN), rtol=1e-3)
    assert_allclose(colour("skin", CROWN, (0, 1, 0), person("short")), SKIN * [1.01, 0.95, 0.94], rtol=2e-3)  # an ear
    assert_allclose(colour("hair", CROWN, who=person("long")), strands, rtol=1e-5)


def test_strands_vary_around_the_colour_of_hair():
    angle = np.linspace(0, 2 * np.pi, 4001)[:-1]
    around = np.column_stack([np.sin(angle), np.zeros_like(angle), 0.4 + np.cos(angle)]).astype(np.float32)
    shade = appearance._strands(around, HAIR) / HAIR
    assert_allclose(shade.mean(0), 1, atol=1e-3)  # whole turns of both waves
    assert_allclose(shade.var(0), 0.09**2 * (1 + 0.7**2) / 2, rtol=1e-2)
    assert shade.max() <= 1 + 0.09 * 1.7 + 1e-6


def test_only_bearded_people_have_a_beard_and_not_on_their_lips():
    assert_allclose(colour("skin", CHIN), SKIN, rtol=5e-3)
    strands = appearance._strands(at(CHIN), HAIR)[0]
    assert_allclose(colour("skin", CHIN, who=person(beard=True)), SKIN + 0.7 * (strands - SKIN), rtol=5e-3)
    lips = colour("skin", CHIN, (1, 0, 0), person(beard=True))
    assert_allclose(lips, SKIN * [0.86, 0.6, 0.6], rtol=1e-3)


def test_brows_are_dark_hair():
    inside = (0.12 + 0.4 * 0.62, EYE_Y + 0.225 + 0.045, 1.3)
    assert_allclose(colour("skin", inside), SKIN + 0.85 * (0.75 * HAIR - SKIN), rtol=5e-3)


def brow(x, y, z=1.3, brows=(0, 0, 0)):
    return float(brow_field(at((x, y, z)), np.array(brows))[0])


def test_the_brow_is_a_bow_above_the_eye():
    along = 0.62
    x, top = 0.12 + 0.4 * along, EYE_Y + 0.225 + 0.045
    half = 0.042 * (1.15 - 0.75 * along)
    assert brow(x, top) == pytest.approx(half, abs=1e-5)
    assert brow(-x, top) == pytest.approx(half, abs=1e-5)
    assert brow(x, top + 0.01) == pytest.approx(half - 0.01, abs=1e-5)
    assert brow(x, top - 0.01) == pytest.approx(half - 0.01, abs=1e-5)
    assert brow(0.12 - 0.04, EYE_Y + 0.25) == pytest.approx(-0.04, abs=1e-5)  # .1 beyond the inner end, times .4
    assert brow(0.52 + 0.04, EYE_Y + 0.25) == pytest.approx(-0.04, abs=1e-5)
    assert brow(x, top, z=EYE_Z - 0.25) == pytest.approx(-0.05, abs=1e-5)  # not at the back of the head


def test_thickness_height_and_arch_move_the_brow():
    x, top = 0.12 + 0.4 * 0.62, EYE_Y + 0.225 + 0.045
    taper = 1.15 - 0.75 * 0.62
    assert brow(x, top, brows=(1, 0, 0)) == pytest.approx(0.062 * taper, abs=1e-5)
    assert brow(x, top + 0.03, brows=(0, 1, 0)) == pytest.approx(0.042 * taper, abs=1e-5)
    assert brow(x, top - 0.035, brows=(0, 0, -1)) == pytest.approx(0.042 * taper, abs=1e-5)
    inner = 0.12 + 0.4 * 0.2  # where the bow is 1 - (.42 / .62)^2 high
    bow = 1 - (0.42 / 0.62) ** 2
    middle = EYE_Y + 0.225 + (0.045 + 0.035) * bow
    assert brow(inner, middle, brows=(0, 0, 1)) == pytest.approx(min(0.042 * 1.0, 0.4 * 0.2), abs=1e-5)
    assert brow(0.12 + 0.4 * 0.05, EYE_Y + 0.225, brows=(1, 0, -1)) <= 0.4 * 0.05 + 1e-6  # its ends taper


def scalp(point, hairline=(0, 0)):
    return float(scalp_field(at(point), np.array(hairline))[0])


def test_the_scalp_is_above_the_hairline_and_behind_the_face():
    assert scalp((0, EYE_Y + 0.7, 1.2)) == pytest.approx(0.14 - 0.05 * np.exp(-((0.42 / 0.16) ** 2)), abs=1e-5)
    temple = (0.42, EYE_Y + 0.7, 1.2)
    assert scalp(temple) == pytest.approx(0.14 - 0.05, abs=1e-5)
    assert scalp(temple, (1, 0)) == pytest.approx(0.14 - 0.05 - 0.09, abs=1e-5)
    assert scalp(temple, (0, 1)) == pytest.approx(0.14 - 0.14, abs=1e-5)
    assert scalp(temple, (0, 1)) == scalp((-temple[0], *temple[1:]), (0, 1))
    assert scalp((0, EYE_Y, 0.1)) == pytest.approx(0.5, abs=1e-5)  # behind: .8 - z, and not far below the eyes
    assert scalp((0, EYE_Y - 0.4, 0.1)) == pytest.approx(0.1, abs=1e-5)
    assert scalp((0, EYE_Y, 1.2)) < 0


def test_the_beard_is_jaw_and_moustache():
    field = lambda *point: float(beard_field(at(point))[0])  # noqa: E731
    assert field(0, 6.2, 1.2) == pytest.approx(0.25, abs=1e-5)  # 5.95 below, 6.5 above
    assert field(0, 6.4, 1.2) == pytest.approx(0.1, abs=1e-5)
    assert field(0.5, 6.6, 1.2) == pytest.approx(0.08, abs=1e-5)  # it rises beside the mouth: 6.5 + .9 * .2
    assert field(-0.5, 6.6, 1.2) == field(0.5, 6.6, 1.2)
    assert field(0.1, 6.6, 1.2) == pytest.approx(6.72 - 0.025 - 6.6, abs=1e-5)  # moustache
    assert field(0.3, 6.6, 1.2) == pytest.approx(0.03, abs=1e-5)  # .33 - .3
    assert field(0, 6.9, 1.2) < 0
    assert field(0, 6.2, 0.7) == pytest.approx(-0.02, abs=1e-5)  # behind the jaw


def test_long_hair_ends_before_the_ears():
    assert_allclose(curtain_field(at((0, 7, 0.5), (0, 7, 0.7))), [0.12, -0.08], atol=1e-6)


def test_hair_lifts_the_surface_of_the_scalp():
    deep, bare = (0, EYE_Y + 1.5, 0.2), (0, EYE_Y, 1.2)
    for style, lift in (("short", 0.1), ("long", 0.1), ("cropped", 0.02), ("bald", 0)):
        assert_allclose(hair_volume(at(deep, bare), person(style)), [lift, 0], atol=1e-6)
    edge = (0, EYE_Y, 0.75)  # the field is .05 there: half of the volume
    assert_allclose(hair_volume(at(edge), person("short")), [0.05], atol=1e-4)


def test_edges_are_smoothsteps():
    fields = np.array([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0])
    assert_allclose(appearance._soft(fields, 0.5), [0, 0, 0.5, 0.75**2 * 1.5, 1, 1])
