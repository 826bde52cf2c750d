"""The order of an epoch: every image once, and no step of a single image."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mibench.api import Defense, generator


@pytest.mark.parametrize(
    ("images", "batch", "sizes"),
    [
        (10, 5, [5, 5]),
        (11, 5, [5, 6]),
        (12, 5, [5, 5, 2]),
        (6, 5, [6]),
        (5, 5, [5]),
        (3, 2, [3]),
        (1, 5, [1]),  # there is no batch before
    ],
)
def test_a_last_batch_of_one_image_joins_the_batch_before(images, batch, sizes):
    assert [len(chunk) for chunk in Defense().batches(images, batch, generator("order"))] == sizes


@settings(max_examples=50, deadline=None)
@given(images=st.integers(2, 60), batch=st.integers(2, 20))
def test_every_image_is_in_one_step_and_none_is_alone(images, batch):
    chunks = [chunk.tolist() for chunk in Defense().batches(images, batch, generator("order", images))]
    assert sorted(index for chunk in chunks for index in chunk) == list(range(images))
    assert min(map(len, chunks)) > 1
