"""Rendered faces: determinism, what identities share and what they do not, ground truth."""

import numpy as np
import pytest
import torch
from mibench_datasets.rendered_faces.dataset import RenderedFaces, _sculpted
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.identity import sample_coarse
from mibench_datasets.rendered_faces.render import render
from mibench_datasets.rendered_faces.view import sample_view

from mibench.api import UsageError

SMALL = RenderedFaces(identities=12, images_per_identity=3)


@pytest.fixture(scope="module")
def all_twelve():
    return SMALL.load(range(12), size=32, channels=3)


def test_shapes_range_and_order(all_twelve):
    images = all_twelve.all_images()
    assert images.shape == (36, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.1
    assert all_twelve.num_classes == 12
    assert torch.equal(all_twelve.labels_N, torch.arange(12).repeat_interleave(3))


def test_a_subset_in_any_order_has_the_same_pixels(all_twelve):
    _sculpted.cache_clear()
    some = SMALL.load([7, 2], size=32, channels=3)
    assert torch.equal(some.pixels_NCHW[:3], all_twelve.pixels_NCHW[21:24])
    assert torch.equal(some.pixels_NCHW[3:], all_twelve.pixels_NCHW[6:9])
    assert some.labels_N.tolist() == [0, 0, 0, 1, 1, 1]


def test_image_i_does_not_depend_on_how_many_there_are(all_twelve):
    fewer = RenderedFaces(identities=5, images_per_identity=1).load([4], size=32, channels=3)
    assert torch.equal(fewer.pixels_NCHW[0], all_twelve.pixels_NCHW[12])


def test_global_random_state_is_neither_read_nor_changed(all_twelve):
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    again = SMALL.load([0], size=32, channels=3)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(again.pixels_NCHW, all_twelve.pixels_NCHW[:3])


def test_seed_changes_everybody(all_twelve):
    other = RenderedFaces(identities=12, images_per_identity=3, seed=1).load([0], size=32, channels=3)
    assert not torch.equal(other.pixels_NCHW, all_twelve.pixels_NCHW[:3])
    assert len({bytes(image.numpy()) for image in all_twelve.pixels_NCHW}) == 36


def test_grey_is_the_luma_of_colour(all_twelve):
    grey = SMALL.load([1], size=32, channels=1).pixels_NCHW.float()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    luma = (all_twelve.pixels_NCHW[3:6].float() * weights).sum(1, keepdim=True)
    assert (grey - luma).abs().max() <= 1.01  # both are rounded once


def test_a_group_shares_colours_but_not_shape():
    identities = [SMALL.identity_parameters(k) for k in range(12)]
    pairs = [(a, b) for a in identities for b in identities if a.number < b.number and a.group == b.group]
    assert len(pairs) > 5
    for a, b in pairs:
        assert np.array_equal(a.coarse.skin_3, b.coarse.skin_3)
        assert np.array_equal(a.coarse.hair_3, b.coarse.hair_3)
        assert (a.coarse.style, a.coarse.beard) == (b.coarse.style, b.coarse.beard)
        assert SMALL.slider_distance(a.number, b.number) > 0.2
        assert SMALL.shape_distance(a.number, b.number) > 2


def test_groups_differ_and_bound_the_colours_of_a_population():
    skins = {tuple(sample_coarse(0, group).skin_3) for group in range(4)}
    assert len(skins) == 4
    groups = [RenderedFaces(coarse_groups=1).identity_parameters(k).group for k in range(20)]
    assert set(groups) == {0}
    assert {SMALL.identity_parameters(k).group for k in range(12)} <= set(range(4))


def test_parameters_are_in_range():
    head = load_head()
    for k in range(12):
        identity = SMALL.identity_parameters(k)
        assert np.abs(identity.sliders_S).max() <= 1
        assert (identity.sliders_S[~head.slider_two_sided_S] >= 0).all()
        assert identity.macros_M.min() >= 0
        assert identity.macros_M.sum() == pytest.approx(1, abs=1e-5)


def test_shape_spread_scales_the_distance():
    near, far = (RenderedFaces(shape_spread=spread) for spread in (0.05, 0.4))
    assert near.slider_distance(0, 1) < far.slider_distance(0, 1)
    assert far.slider_distance(0, 0) == far.shape_distance(0, 0) == 0
    assert far.slider_distance(0, 1) == far.slider_distance(1, 0)


def test_sliders_move_the_mesh_as_the_morphs_say():
    head = load_head()
    sliders, macros = np.zeros(len(head.slider_names), np.float32), np.full(12, 1 / 12, np.float32)
    assert np.allclose(head.shape(sliders, macros), head.template_V3, atol=1e-5)
    hump = head.slider_names.index("nose/nose-hump")
    for sign, morphs in ((1, head.plus_SV3), (-1, head.minus_SV3)):
        sliders[hump] = 0.5 * sign
        moved = head.shape(sliders, macros) - head.template_V3
        assert np.allclose(moved, 0.5 * morphs[hump], atol=1e-5)
        assert np.abs(moved).max() > 0.01


def test_the_face_is_in_the_middle_and_the_background_in_the_corners():
    head, view = load_head(), sample_view(load_head(), seed=0, number=3, index=0)
    image = render(head, SMALL._bust(3), view, size=64, channels=3).astype(float)
    corner, ends = image[:, 0, 0], view.background_23
    assert (corner >= ends.min(0) - 15).all()
    assert (corner <= ends.max(0) + 15).all()
    middle = image[:, 24:44, 24:40].mean((1, 2))
    assert middle[0] > middle[1] > middle[2]  # skin is redder than green, greener than blue


def test_an_identity_that_does_not_exist():
    with pytest.raises(UsageError, match="identities 0 to 11"):
        SMALL.load([12], size=32, channels=3)
