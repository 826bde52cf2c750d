"""The image convention at every boundary."""

import pytest
import torch

from mibench.api import MibenchError, check_images, from_uint8, resize, to_rgb, to_uint8

GOOD = torch.rand(2, 3, 4, 4)


@pytest.mark.parametrize("images", [GOOD, torch.zeros(0, 1, 4, 4), torch.ones(1, 1, 2, 3)])
def test_good_images_pass_unchanged(images):
    assert check_images(images, where="here") is images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GOOD.double(), "float64"),
        ((GOOD * 255).to(torch.uint8), "uint8"),
        (GOOD[0], r"\(3, 4, 4\)"),
        (GOOD[:, :2], r"\(2, 2, 4, 4\)"),
        (GOOD + 1, r"expected values in \[0, 1\]"),
        (GOOD - 1, r"expected values in \[0, 1\]"),
        (torch.full((1, 1, 2, 2), float("nan")), r"got \[nan, nan\]"),
        (torch.full((1, 1, 2, 2), float("inf")), "inf"),
    ],
)
def test_wrong_images_are_explained(images, message):
    with pytest.raises(MibenchError, match=message) as caught:
        check_images(images, where="the attack's images")
    assert str(caught.value).startswith("the attack's images: ")


def test_one_nan_among_good_pixels_is_found():
    images = GOOD.clone()
    images[1, 2, 3, 3] = float("nan")
    with pytest.raises(MibenchError):
        check_images(images, where="here")


def test_all_8_bit_values_survive_the_round_trip():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(from_uint8(pixels)), pixels)
    assert from_uint8(pixels).dtype == torch.float32
    assert from_uint8(pixels).max() == 1


def test_quantisation_rounds_and_clamps():
    values = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 2.0]).view(1, 1, 1, 6)
    assert to_uint8(values).flatten().tolist() == [0, 0, 0, 1, 255, 255]


def test_resize_is_the_identity_at_the_right_size_and_averages_otherwise():
    assert resize(GOOD, 4) is GOOD
    assert resize(GOOD, 7).shape == (2, 3, 7, 7)
    flat = torch.full((1, 1, 9, 9), 0.3)
    assert torch.allclose(resize(flat, 4), torch.full((1, 1, 4, 4), 0.3))


def test_grey_becomes_rgb():
    grey = torch.rand(2, 1, 4, 4)
    assert to_rgb(GOOD) is GOOD
    assert all(torch.equal(to_rgb(grey)[:, c], grey[:, 0]) for c in range(3))
