"""Splits: disjoint, complete, independent of the machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.protocol.schema import Split
from mibench.protocol.split import permutation, split_identities, split_images


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 5), st.sampled_from(["front", "back"]))
def test_private_and_public_are_disjoint(private, public, spare, side):
    split = Split(private=private, public=public, train=1, val=0, test=1, private_from=side)
    found = split_identities(split, private + public + spare)
    assert len(found.private) == private
    assert len(found.public) == public
    assert not set(found.private) & set(found.public)
    assert set(found.private) | set(found.public) <= set(range(private + public + spare))


def test_validation_people_are_other_people_and_share_the_public_ones_if_there_are_enough():
    front = split_identities(Split(private=5, public=10, train=1, val=0, test=1), 20)
    back = split_identities(Split(private=5, public=10, train=1, val=0, test=1, private_from="back"), 20)
    assert not set(front.private) & set(back.private)
    assert front.public == back.public


def test_with_no_spare_people_the_roles_are_swapped():
    front = split_identities(Split(private=20, public=20, train=1, val=0, test=1), 40)
    back = split_identities(Split(private=20, public=20, train=1, val=0, test=1, private_from="back"), 40)
    assert (back.private, back.public) == (front.public, front.private)


def test_permutation_is_frozen():
    # Sorted by sha256(b"identities:0:<i>"), computed by hand with sha256sum.
    assert permutation(5, "identities", 0) == sorted(range(5), key=lambda i: _sha(f"identities:0:{i}"))


def _sha(text):
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def test_images_are_split_per_class():
    labels = [0] * 5 + [1] * 5
    split = Split(private=2, public=1, train=2, val=1, test=2)
    parts = split_images(split, labels, [7, 9])
    assert sorted(parts.train + parts.val + parts.test) == list(range(10))
    for part, count in ((parts.train, 2), (parts.val, 1), (parts.test, 2)):
        assert [labels[i] for i in part].count(0) == count


def test_a_class_splits_the_same_way_whatever_classes_are_beside_it():
    split = Split(private=2, public=1, train=2, val=1, test=2)
    alone = split_images(split, [0] * 5, [9])
    beside = split_images(split, [0] * 5 + [1] * 5, [3, 9])
    assert [i - 5 for i in beside.train if i >= 5] == alone.train


def test_too_few_people_or_images_are_explained():
    with pytest.raises(UsageError, match="dataset has 3"):
        split_identities(Split(private=2, public=2, train=1, val=0, test=1), 3)
    with pytest.raises(UsageError, match="identity 4 has 2 images"):
        split_images(Split(private=2, public=1, train=2, val=0, test=1), [0, 0], [4])
