"""Datasets' portraits and ground truth: what they are where a dataset has none, and what is refused."""

import pytest
import torch

from mibench.api import Dataset, GroundTruth, IdentityGallery, TensorImages, UsageError
from mibench.testing.tiny_components import TinyFaces


class Silent(TinyFaces):
    """A dataset that knows nothing but pictures."""

    portraits = Dataset.portraits
    truth = Dataset.truth


def test_a_dataset_without_portraits_says_so_and_what_helps() -> None:
    with pytest.raises(UsageError, match=r"Silent has no portraits .*gallery.images is 'train'"):
        Silent().portraits([0], size=16, channels=3)
    assert Silent().truth([0, 1]) is None


@pytest.mark.parametrize(
    "values",
    [torch.zeros(3), torch.zeros(2, 4), torch.zeros(2, 3, dtype=torch.float64)],
    ids=["flat", "four", "double"],
)
def test_ground_truth_is_points_in_float32(values: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected float32 \(K, D\) with D divisible by 3"):
        GroundTruth(values)


def test_ground_truth_states_its_unit() -> None:
    with pytest.raises(ValueError, match="unit"):
        GroundTruth(torch.zeros(2, 3), unit="")


def test_a_gallery_counts_its_people() -> None:
    def pictures(people: int) -> TensorImages:
        return TensorImages(torch.zeros(people, 1, 8, 8, dtype=torch.uint8), torch.arange(people), people)

    assert IdentityGallery(pictures(3)).people == 3
    assert IdentityGallery(pictures(3), pictures(5)).people == 8
