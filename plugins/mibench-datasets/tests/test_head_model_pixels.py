"""The prior ``head-model`` renders the pixels of the dataset's renderer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mibench_datasets.head_model.component import HeadModelPrior
from mibench_datasets.head_model.free import Free
from mibench_datasets.head_model.person import Person
from mibench_datasets.head_model.renderer import Renderer
from mibench_datasets.head_model.shot import Plain, shot_of
from mibench_datasets.head_model.visibility import nearest
from mibench_datasets.rendered_faces.appearance import VOLUME
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.identity import STYLES, sample_identity
from mibench_datasets.rendered_faces.rasterise import rasterise
from mibench_datasets.rendered_faces.render import render, sculpt
from mibench_datasets.rendered_faces.view import plain_view, sample_view

from mibench.api import generator

HEAD = load_head()
COVER = {"short": 1.0, "long": 1.0, "cropped": 0.75, "bald": 0.0}
PEOPLE = (0, 2, 5, 9, 10, 13)
IDENTITIES = [sample_identity(HEAD, seed=0, number=k, coarse_groups=8, shape_spread=0.35) for k in PEOPLE]
FREE = [replace(sample_view(HEAD, seed=0, number=k, index=k), noise=0.0) for k in PEOPLE]


def person_of(identities):
    def stacked(of):
        return torch.tensor(np.stack([np.asarray(of(identity), np.float32) for identity in identities], axis=-1))

    return Person(
        sliders_BS=stacked(lambda i: i.sliders_S).T,
        macros_BM=stacked(lambda i: i.macros_M).T,
        brows_3B=stacked(lambda i: i.brows_3),
        hairline_2B=stacked(lambda i: i.hairline_2),
        skin_3B=stacked(lambda i: i.coarse.skin_3),
        hair_3B=stacked(lambda i: i.coarse.hair_3),
        iris_3B=stacked(lambda i: i.coarse.iris_3),
        beard_B=stacked(lambda i: i.coarse.beard),
        volume_B=stacked(lambda i: VOLUME[i.coarse.style]),
        cover_B=stacked(lambda i: COVER[i.coarse.style]),
        long_B=stacked(lambda i: i.coarse.style == "long") > 0.5,
    )


def in_numpy(views, size, channels):
    images = [
        render(HEAD, sculpt(HEAD, identity), view, size=size, channels=channels)
        for identity, view in zip(IDENTITIES, views, strict=True)
    ]
    return torch.from_numpy(np.stack(images)).float()


def in_torch(views, size, channels):
    with torch.no_grad():
        images = Renderer(HEAD, size=size, channels=channels)(person_of(IDENTITIES), shot_of(views))
    assert images.shape == (len(IDENTITIES), channels, size, size)
    return (images.clamp(0, 1) * 255).round()


def test_the_people_have_all_styles_with_and_without_a_beard():
    assert {identity.coarse.style for identity in IDENTITIES} == set(STYLES)
    assert {identity.coarse.beard for identity in IDENTITIES} == {False, True}


@pytest.mark.parametrize(("views", "size", "channels"), [
    ([plain_view(HEAD)] * 6, 64, 3), (FREE, 64, 3), (FREE, 32, 1), ([plain_view(HEAD)] * 6, 33, 1),
])  # fmt: skip
def test_pixels_are_those_of_the_dataset(views, size, channels):
    off = (in_torch(views, size, channels) - in_numpy(views, size, channels)).abs()
    assert off.mean() < 0.002  # of 255
    assert (off > 3).float().mean() < 1e-4


def test_the_frontal_view_is_the_portrait():
    plain, want = Plain(HEAD)(torch.zeros(2, 0)), shot_of([plain_view(HEAD)] * 2)
    assert plain.rotation_B33 is None
    assert torch.equal(want.rotation_B33, torch.eye(3).expand(2, 3, 3))
    for name in ("shift_2B", "zoom_B", "gaze_2B", "light_3B", "ambient_B", "tint_3B", "background_23B"):
        assert torch.equal(getattr(plain, name), getattr(want, name))


def test_a_z_buffer_of_random_triangles_is_that_of_numpy():
    rng = np.random.default_rng(0)
    screens = rng.uniform(-4, 36, (2, 60, 3)).astype(np.float32)
    screens[:, :, 2] = rng.uniform(0.05, 0.1, (2, 60))
    triangles = rng.integers(60, size=(40, 3))
    triangles = triangles[[len(set(t)) == 3 for t in triangles.tolist()]]
    for two_sided in (False, True):
        layer = nearest(
            torch.from_numpy(screens).permute(2, 1, 0), torch.from_numpy(triangles.T.copy()), 32, two_sided=two_sided
        )
        for image in range(2):
            want = rasterise(screens[image], triangles, 32, two_sided=two_sided)
            mine = layer.pixels_F // 1024 == image
            assert (layer.pixels_F[mine] - 1024 * image).tolist() == want.pixels_P.tolist()
            assert np.array_equal(triangles[layer.triangles_F[mine]], want.corners_P3)
            assert np.allclose(layer.weights_2F[:, mine].T, want.weights_P3[:, :2], atol=1e-4)
            assert np.allclose(layer.nearness_F[mine], want.depth_P, rtol=1e-4)


def test_a_face_outside_of_the_picture_leaves_the_background():
    prior = HeadModelPrior(views="free").build(channels=3, size=16)
    latent = torch.zeros(1, 1, prior.latent_size)
    latent[0, 0, prior.population.size + 3] = 1e4  # displaced to the right
    image = prior.render(latent)
    assert (image - 130 / 255).abs().max() < 1e-5


def test_expressions_are_at_most_two_units_and_their_mirror_images():
    view = Free(HEAD)
    shot = view(torch.randn(200, view.size, generator=generator("expressions")))
    weights = shot.expression_EB.T
    shown = (weights > 0).sum(1)
    assert shown.max() <= 4
    assert 0.15 < (shown == 0).float().mean() < 0.35  # a quarter is neutral
    assert weights.max() <= 0.6
    assert weights[weights > 0].min() >= 0.08
    drawn = np.array([sample_view(HEAD, seed=0, number=k, index=0).expression_E for k in range(200)])
    assert weights.sum(1).mean().item() == pytest.approx(drawn.sum(1).mean(), abs=0.12)


def test_free_views_are_distributed_as_those_of_the_dataset():
    view, count = Free(HEAD), 600
    shot = view(torch.randn(count, view.size, generator=generator("views")))
    drawn = [sample_view(HEAD, seed=0, number=k, index=0) for k in range(count)]
    pairs = {
        "yaw": (shot.rotation_B33[:, 0, 0].clamp(-1, 1), [v.rotation()[0, 0] for v in drawn]),
        "pitch": (shot.rotation_B33[:, 2, 1], [v.rotation()[2, 1] for v in drawn]),
        "roll": (shot.rotation_B33[:, 1, 0], [v.rotation()[1, 0] for v in drawn]),
        "shift": (shot.shift_2B[0], [v.shift_2[0] for v in drawn]),
        "zoom": (shot.zoom_B, [v.zoom for v in drawn]),
        "gaze": (shot.gaze_2B[1], [v.gaze_2[1] for v in drawn]),
        "light across": (shot.light_3B[0], [v.light_3[0] for v in drawn]),
        "light up": (shot.light_3B[1], [v.light_3[1] for v in drawn]),
        "ambient": (shot.ambient_B, [v.ambient for v in drawn]),
        "tint": (shot.tint_3B[2], [v.tint_3[2] for v in drawn]),
        "background": (shot.background_23B[1, 0], [v.background_23[1, 0] for v in drawn]),
        "slope": (shot.slope_2B[0], [v.slope_2[0] for v in drawn]),
    }
    for name, (mine, theirs) in pairs.items():
        assert kolmogorov_smirnov(mine.numpy(), np.array(theirs)) < 1.95 * np.sqrt(2 / count), name  # p = .001


def kolmogorov_smirnov(a, b):
    """Return the largest distance of two empirical distribution functions."""
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b)]
    return np.abs(below[0] - below[1]).max()
