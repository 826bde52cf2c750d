"""Portraits and ground truth of rendered faces."""

import numpy as np
import pytest
import torch
from mibench_datasets.rendered_faces.dataset import RenderedFaces
from mibench_datasets.rendered_faces.head import load_head
from mibench_datasets.rendered_faces.view import plain_view, portrait_view, sample_view

from mibench.api import UsageError

PEOPLE = RenderedFaces(identities=12, images_per_identity=1)


def test_one_portrait_each_in_order():
    portraits = PEOPLE.portraits([7, 2], size=32, channels=3)
    assert portraits.pixels_NCHW.shape == (2, 3, 32, 32)
    assert portraits.labels_N.tolist() == [0, 1]
    assert portraits.num_classes == 2
    assert torch.equal(PEOPLE.portraits([2], size=32, channels=3).pixels_NCHW[0], portraits.pixels_NCHW[1])


def test_take_0_is_plain_and_nearly_symmetric():
    image = PEOPLE.portraits([4], size=32, channels=3).pixels_NCHW[0].float()
    assert image[:, 0, 0].tolist() == [130, 130, 130]  # background, without noise
    assert (image - image.flip(2)).abs().mean() < 3  # the model is symmetric but for a few sliders
    turned = PEOPLE.load([4], size=32, channels=3).pixels_NCHW[0].float()
    assert (turned - turned.flip(2)).abs().mean() > 6


def test_later_takes_differ_in_light_and_background_only():
    head, plain = load_head(), plain_view(load_head())
    views = [portrait_view(head, seed=0, number=3, take=take) for take in (1, 1, 2)]
    assert views[0].noise_seed == views[1].noise_seed != views[2].noise_seed
    for view in views:
        assert (view.yaw, view.pitch, view.roll, view.zoom) == (0, 0, 0, 1)
        assert np.array_equal(view.shift_2, plain.shift_2)
        assert not view.expression_E.any()
        assert not view.gaze_2.any()
        assert not np.array_equal(view.light_3, plain.light_3)
        assert 1 <= view.noise <= 3
    assert sample_view(head, seed=0, number=3, index=1).noise_seed != views[0].noise_seed
    takes = [PEOPLE.portraits([3], size=32, channels=1, take=take).pixels_NCHW for take in (0, 1, 2)]
    assert not torch.equal(takes[1], takes[2])
    assert (takes[0].float() - takes[1].float()).abs().mean() < 60


def test_light_of_a_portrait_is_the_middle_of_what_is_drawn():
    head, plain = load_head(), plain_view(load_head())
    views = [sample_view(head, seed=0, number=k, index=0) for k in range(400)]
    lights = np.array([view.light_3 / view.light_3[2] for view in views])
    error = lights.std(0) / 20
    assert (np.abs(lights.mean(0) - plain.light_3 / plain.light_3[2])[:2] < 4 * error[:2]).all()
    assert np.mean([view.ambient for view in views]) == pytest.approx(plain.ambient, abs=0.01)
    assert np.mean([view.background_23 for view in views]) == pytest.approx(130, abs=8)


def test_truth_is_what_shape_distance_compares():
    truth = PEOPLE.truth([5, 1, 5])
    assert truth.unit == "mm"
    assert truth.values_KD.dtype == torch.float32
    points = truth.values_KD.reshape(3, -1, 3).double()
    assert torch.equal(points[0], points[2])
    assert points.mean(1).abs().max() < 1e-4
    apart = (points[0] - points[1]).square().sum(1).mean().sqrt().item()
    assert apart == pytest.approx(PEOPLE.shape_distance(5, 1), rel=1e-5)
    assert 100 < (points[0].amax(0) - points[0].amin(0))[1] < 300  # from chin to crown, millimetres


@pytest.mark.parametrize("wrong", [{"identities": [12]}, {"identities": [0], "take": -1}])
def test_requests_that_cannot_be_served(wrong):
    with pytest.raises(UsageError, match="got"):
        PEOPLE.portraits(**wrong, size=32, channels=3)


def test_truth_of_nobody_and_of_one_who_does_not_exist():
    assert len(PEOPLE.truth([]).values_KD) == 0
    with pytest.raises(UsageError, match="identities 0 to 11"):
        PEOPLE.truth([12])
