"""Augmentation against flips and clips by hand. Colours: see ``test_recipe_options.py``."""

import numpy as np
import pytest
import torch

from mibench.api import generator
from mibench.protocol.schema import Augmentation
from mibench.training.augment import make_augmentation


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_images_leave_it_in_range_whatever_a_defense_did_to_them_before(flip):
    x_BCHW = 3 * torch.rand(5, 3, 8, 8, generator=generator("beyond")) - 1
    assert x_BCHW.min() < -0.5
    assert x_BCHW.max() > 1.5
    got_BCHW = make_augmentation(Augmentation(crop_scale=None, flip=flip), 8)(x_BCHW)
    wanted_BCHW = np.clip(x_BCHW.numpy(), 0, 1)
    np.testing.assert_array_equal(got_BCHW.numpy(), wanted_BCHW[..., ::-1] if flip else wanted_BCHW)


def test_crops_of_images_beyond_the_range_are_in_range():
    x_BCHW = 3 * torch.rand(20, 1, 8, 8, generator=generator("beyond")) - 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        got_BCHW = make_augmentation(Augmentation(crop_scale=(0.8, 1.0), flip=0.5), 8)(x_BCHW)
    assert (float(got_BCHW.min()), float(got_BCHW.max())) == (0.0, 1.0)


def test_a_crop_is_a_square_of_the_stated_area_at_a_place_of_its_own_for_each_image():
    """Of two ramps a crop of a quarter of the area keeps half of the range, in both directions alike."""
    ramp_W = torch.linspace(0, 1, 64)
    x_BCHW = torch.stack([ramp_W.expand(64, 64), ramp_W[:, None].expand(64, 64)]).expand(6, 2, 64, 64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        got_BCHW = make_augmentation(Augmentation(crop_scale=(0.25, 0.25), flip=0.0), 64)(x_BCHW)
    spans_BC = got_BCHW.amax((2, 3)) - got_BCHW.amin((2, 3))
    np.testing.assert_allclose(spans_BC.numpy(), 0.5, atol=0.03)
    assert len({round(float(place), 3) for place in got_BCHW[:, 0].amin((1, 2))}) == 6
