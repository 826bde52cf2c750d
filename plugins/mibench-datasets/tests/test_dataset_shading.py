"""Light, projection, background and sensor against closed forms."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from mibench_datasets.rendered_faces import render as rendering
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.rasterise import Fragments
from mibench_datasets.rendered_faces.render import Bust, light, render
from mibench_datasets.rendered_faces.view import View
from numpy.testing import assert_allclose

VIEW = View(
    yaw=0.0,
    pitch=0.0,
    roll=0.0,
    shift_2=np.zeros(2, np.float32),
    zoom=1.0,
    expression_E=np.zeros(len(load_head().expression_names), np.float32),
    gaze_2=np.zeros(2, np.float32),
    light_3=np.array([0, 0, 1], np.float32),
    ambient=0.4,
    tint_3=np.ones(3, np.float32),
    background_23=np.array([[40, 50, 60], [200, 150, 100]], np.float32),
    slope_2=np.array([1, 0], np.float32),
    noise=0.0,
    noise_seed=7,
)
GREY = np.full((1, 3), 100, np.float32)
DRY, WET = np.array([False]), np.array([True])
ONE = np.ones(1, np.float32)


def lit(normal, *, view=VIEW, wet=DRY, shade=ONE, colour=GREY):
    return light(colour, np.array([normal], np.float32), shade, wet, view)[0].astype(float)


def test_a_surface_that_faces_light_and_camera_has_all_of_it():
    # 100 * (ambient + .66 * (1 + .2) / 1.2) and the whole highlight
    assert_allclose(lit([0, 0, 1]), 100 * (0.4 + 0.66) + 22, rtol=1e-5)
    assert_allclose(lit([0, 0, 1], wet=WET), 100 * (0.4 + 0.66) + 140, rtol=1e-5)


@pytest.mark.parametrize("degrees", [10, 30, 60, 80])
def test_lambert_is_wrapped_and_the_highlight_follows_blinn_and_phong(degrees):
    angle = np.radians(degrees)
    normal = [np.sin(angle), 0, np.cos(angle)]
    diffuse = (np.cos(angle) + 0.2) / 1.2
    for wet, gloss in ((DRY, 22 * np.cos(angle) ** 14), (WET, 140 * np.cos(angle) ** 60)):
        assert_allclose(lit(normal, wet=wet), 100 * (0.4 + 0.66 * diffuse) + gloss, rtol=1e-4)


def test_a_surface_more_than_a_little_beyond_the_terminator_has_ambient_light_alone():
    side = replace(VIEW, light_3=np.array([1, 0, 0], np.float32))
    # n . l = -.8 is beyond the wrap of -.2; the half vector (1, 0, 1) / sqrt 2 gives n . h = -.2 / sqrt 2 < 0
    assert_allclose(lit([-0.8, 0, 0.6], view=side), 100 * 0.4, rtol=1e-5)
    # n . l = -.1 is still a little lit: .1 / 1.2
    just = np.sqrt(1 - 0.01)
    half = (-0.1 + just) / np.sqrt(2)
    assert_allclose(lit([-0.1, 0, just], view=side), 100 * (0.4 + 0.66 * 0.1 / 1.2) + 22 * half**14, rtol=1e-4)


def test_length_and_side_of_a_normal_do_not_matter():
    expected = lit([0.6, 0, 0.8])
    assert_allclose(lit([6, 0, 8]), expected, rtol=1e-5)
    assert_allclose(lit([-0.6, 0, -0.8]), expected, rtol=1e-5)  # the inside of hair faces the camera too
    assert np.isfinite(lit([0, 0, 0])).all()


def test_shade_darkens_the_colour_and_tint_the_whole():
    tint = np.array([1.0, 0.9, 0.5], np.float32)
    got = lit([0, 0, 1], view=replace(VIEW, tint_3=tint), shade=np.array([0.5], np.float32))
    assert_allclose(got, (50 * (0.4 + 0.66) + 22) * tint, rtol=1e-5)


# Projection


def test_a_point_at_the_pivot_is_in_the_middle_and_its_nearness_is_one_over_its_distance():
    (x, y, nearness), (_, _, nearer) = rendering._project(np.array([[0, 0, 0], [0, 0, 4.0]]), VIEW, 100)
    assert (x, y) == (50, 50)
    assert nearness == pytest.approx(1 / 14)
    assert nearer == pytest.approx(1 / 10)


def test_the_window_is_as_wide_as_it_says_at_the_pivot_and_x_goes_right_and_y_up():
    corners = rendering._project(np.array([[1.32, 0, 0], [0, 1.32, 0], [1.32, 1.32, 7.0]]), VIEW, 100)
    assert_allclose(corners[0, :2], [100, 50], rtol=1e-6)
    assert_allclose(corners[1, :2], [50, 0], atol=1e-4)
    assert_allclose(corners[2, :2], [150, -50], rtol=1e-5)  # at half of the distance twice as far from the middle


def test_zoom_magnifies_and_shift_moves_by_a_share_of_the_side():
    moved = replace(VIEW, zoom=1.05, shift_2=np.array([0.1, -0.2], np.float32))
    middle, edge = rendering._project(np.array([[0, 0, 0], [1.32, 0, 0]]), moved, 100)
    assert_allclose(middle[:2], [60, 30], rtol=1e-5)
    assert edge[0] - middle[0] == pytest.approx(52.5)


# Background


def test_the_background_is_a_gradient_along_its_slope():
    image = rendering._background(VIEW, 10)
    assert image.shape == (10, 10, 3)
    start, end = VIEW.background_23
    for column in range(10):
        expected = start + (end - start) * (column + 0.5) / 10
        assert_allclose(image[:, column], np.tile(expected, (10, 1)), rtol=1e-5)
    down = rendering._background(replace(VIEW, slope_2=np.array([0, 1], np.float32)), 10)
    assert_allclose(down, image.transpose(1, 0, 2), rtol=1e-6)
    diagonal = rendering._background(replace(VIEW, slope_2=np.array([2, 2], np.float32)), 10)
    assert_allclose(diagonal[0, 0], start)  # beyond its ends it stays
    assert_allclose(diagonal[9, 9], end)


# Layers


def fragments(depths):
    count = len(depths)
    return Fragments(
        np.arange(count), np.zeros((count, 3), np.int64), np.full((count, 3), 1 / 3, np.float32), np.array(depths)
    )


def bust_of(part):
    coarse = SimpleNamespace(hair_3=np.full(3, 20, np.float32), iris_3=np.full(3, 90, np.float32))
    parts = np.array([part])
    return Bust(SimpleNamespace(coarse=coarse), None, None, None, None, None, parts)


def painted(part, depths, template=(0, 0, 1), behind=0.5):
    head = load_head()
    image, depth = np.zeros((len(depths), 3), np.float32), np.full(len(depths), behind, np.float32)
    values = np.array([[*template, 0, 0, 0, 0, 0, 1, 1]], np.float32)
    rendering._paint(image, depth, fragments(depths), values, head, bust_of(head.part_names.index(part)), VIEW)
    return image.astype(float), depth.astype(float)


def test_only_what_is_nearer_is_painted():
    image, depth = painted("teeth", [0.4, 0.5, 0.6])
    assert depth.tolist() == pytest.approx([0.5, 0.5, 0.6])
    assert not image[:2].any()
    assert_allclose(image[2], np.array([214, 207, 192]) * 1.06 + 22, rtol=1e-5)


def test_long_hair_is_cut_away_in_front_of_the_ears():
    assert painted("hair", [0.6], template=(0, 0, 0.61))[1].tolist() == pytest.approx([0.6])
    assert painted("hair", [0.6], template=(0, 0, 0.63))[1].tolist() == pytest.approx([0.5])


def test_eyes_are_wet_and_teeth_are_not():
    (eye,), _ = painted("eye-l", [0.6], template=(0.287, 7.23, 5))  # straight ahead of its centre: the pupil
    assert_allclose(eye, np.array([14, 12, 12]) * 1.06 + 140, rtol=1e-4)


# Sensor


def test_without_noise_values_are_rounded_and_clipped():
    image = np.array([[[10.4, 10.6, 300.0], [-5.0, 128.0, 255.0]]], np.float32)
    out = rendering._develop(image, VIEW, 3)
    assert (out.dtype, out.shape) == (np.uint8, (3, 1, 2))
    assert out[:, 0].T.tolist() == [[10, 11, 255], [0, 128, 255]]


def test_grey_weighs_the_colours_as_itu_r_601_says():
    image = np.array([[[100.0, 0, 0], [0, 100, 0], [0, 0, 100], [100, 100, 100]]], np.float32)
    assert rendering._develop(image, VIEW, 1)[0, 0].tolist() == [30, 59, 11, 100]


def test_noise_is_gaussian_of_its_size_and_depends_on_its_seed_alone():
    flat, noisy = np.full((64, 64, 3), 128, np.float32), replace(VIEW, noise=3.0)
    out = rendering._develop(flat, noisy, 3).astype(float)
    assert out.mean() == pytest.approx(128, abs=0.15)  # 12 288 values
    assert out.std() == pytest.approx(np.sqrt(9 + 1 / 12), rel=0.03)  # rounding adds 1/12
    assert np.corrcoef(out[0].ravel(), out[1].ravel())[0, 1] == pytest.approx(0, abs=0.06)
    assert np.array_equal(out, rendering._develop(flat, noisy, 3))
    assert not np.array_equal(out, rendering._develop(flat, replace(noisy, noise_seed=8), 3))


# All of it


def test_an_image_without_a_person_is_the_mean_of_its_background_over_each_pixel():
    head = load_head()
    nothing = np.empty((0, 3), np.int64)
    empty = Bust(None, np.zeros((len(head.template_V3), 3), np.float32), np.zeros(3), np.ones(len(head.template_V3)),
                 nothing, nothing, np.zeros(len(head.template_V3), np.int64))  # fmt: skip
    image = render(head, empty, VIEW, size=8, channels=3)
    fine = rendering._background(VIEW, 16)
    expected = fine.reshape(8, 2, 8, 2, 3).mean((1, 3)).round().astype(int).transpose(2, 0, 1)
    assert image.shape == (3, 8, 8)
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert image[0, :, 0].tolist() == [image[0, 0, 0]] * 8
    assert image[0, 0].tolist() == sorted(image[0, 0].tolist())
