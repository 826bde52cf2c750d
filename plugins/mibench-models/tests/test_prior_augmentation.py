"""Augmentations of a discriminator's images, against what numpy says that they may do to an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.parts.augmentation import color, cutout, flip, translate

from mibench.api import generator

SIDE, COUNT = 16, 200


def images(channels: int = 3) -> torch.Tensor:
    return torch.rand(COUNT, channels, SIDE, SIDE, generator=generator("images")) * 2 - 1


def test_half_of_the_images_are_mirrored_and_the_others_left_alone() -> None:
    x = images()
    before, after = array(x), array(flip(x, generator("flip")))
    mirrored = [bool(np.array_equal(b, a[:, :, ::-1])) for b, a in zip(before, after, strict=True)]
    same = [bool(np.array_equal(b, a)) for b, a in zip(before, after, strict=True)]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    assert 70 <= sum(mirrored) <= 130  # four standard deviations of a fair coin


def test_every_image_is_moved_by_whole_pixels_and_filled_with_grey() -> None:
    x, reach = images(), 2  # an eighth of the side
    moved = array(translate(x, generator("translate")))
    seen = set()
    for before, after in zip(array(x), moved, strict=True):
        around = np.pad(before, ((0, 0), (reach, reach), (reach, reach)))
        places = [
            (row, column)
            for row in range(2 * reach + 1)
            for column in range(2 * reach + 1)
            if np.array_equal(around[:, row : row + SIDE, column : column + SIDE], after)
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == (2 * reach + 1) ** 2  # 200 draws meet all 25


def test_the_hole_is_a_square_of_half_the_side_wherever_it_fits() -> None:
    x = images()
    after = array(cutout(x, generator("cutout")))
    for before, cut in zip(array(x), after, strict=True):
        hole = (cut == 0).all(axis=0)
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        inside = np.zeros_like(hole)
        inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        assert np.array_equal(hole, inside)
        assert np.array_equal(cut[:, ~hole], before[:, ~hole])
        for line in (rows, columns):  # whole, or cut off by an edge of the image
            assert len(line) in (7, 8) or line[0] == 0 or line[-1] == SIDE - 1
            assert len(line) >= 3


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_by_one_shift_one_saturation_and_one_contrast(channels: int) -> None:
    x = images(channels)
    after = array(color(x, generator("colour")))
    shifts, saturations, contrasts = [], [], []
    for before, found in zip(array(x), after, strict=True):
        grey, mean = before.mean(axis=0), before.mean()
        # mean(found) = mean + shift; the rest is contrast * (grey - mean) + contrast * saturation * (before - grey)
        shifts.append(found.mean() - mean)
        parts = np.stack([np.broadcast_to(grey - mean, before.shape).ravel(), (before - grey).ravel()], axis=1)
        (contrast, both), *_ = np.linalg.lstsq(parts, (found - found.mean()).ravel(), rcond=None)
        assert np.abs(parts @ (contrast, both) - (found - found.mean()).ravel()).max() < 1e-5
        contrasts.append(contrast)
        saturations.append(both / contrast)
    assert -0.5 <= min(shifts) < -0.4 < 0.4 < max(shifts) <= 0.5
    assert 0.5 - 1e-4 <= min(contrasts) < 0.6 < 1.4 < max(contrasts) <= 1.5 + 1e-4
    if channels > 1:
        assert -1e-4 <= min(saturations) < 0.1 < 1.9 < max(saturations) <= 2 + 1e-4
        assert abs(np.corrcoef(saturations, contrasts)[0, 1]) < 0.25  # draws of their own
