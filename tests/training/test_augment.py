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
