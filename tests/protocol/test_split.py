"""Splits: disjoint, complete, independent of the machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.protocol.identities import Folded, fold_identities, permutation, split_identities
from mibench.protocol.schema import Split
from mibench.protocol.split import (
    ImageSplit,
    PrivateSplit,
    hold_out,
    private_indices,
    split_images,
)


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


@pytest.mark.parametrize(
    ("side", "private", "public"), [("front", [0, 7, 8], [1, 3, 4, 6]), ("back", [2, 5, 6], [1, 3, 4, 8])]
)
def test_who_is_private_and_who_is_public_is_frozen(side, private, public):
    # By sha256(b"identities:7:<i>") nine people stand in the order 8 7 0 3 4 1 6 5 2.
    split = Split(private=3, public=4, train=1, val=0, test=1, seed=7, private_from=side)
    found = split_identities(split, 9)
    assert (found.private, found.public) == (private, public)


def test_which_images_train_is_frozen_and_read_from_either_form_of_a_split():
    # By sha256(b"images:7:4:<i>") six images stand in the order 0 4 5 1 3 2, and for person 8 in 0 3 5 1 2 4.
    labels, expected = [0] * 6 + [1] * 6, ImageSplit(train=[0, 4, 6, 9], val=[5, 11], test=[1, 3, 7, 8])
    split = Split(private=2, public=1, train=2, val=1, test=2, seed=7)
    assert split_images(split, labels, [4, 8]) == expected
    assert private_indices(PrivateSplit.of(split, [4, 8]), labels) == expected


def by_hash(indices, purpose):
    return [indices[i] for i in sorted(range(len(indices)), key=lambda i: _sha(f"{purpose}:{i}"))]


@pytest.mark.parametrize(("images", "seed"), [(1, 0), (1, 5), (2, 3)])
def test_public_images_are_held_out_of_each_class_and_the_others_train(images, seed):
    labels = [1, 0, 1, 0, 1, 0, 0]
    own = {0: [1, 3, 5, 6], 1: [0, 2, 4]}
    val = sorted(i for label in own for i in by_hash(own[label], f"public validation:{seed}:{label}")[:images])
    assert hold_out(labels, images, seed) == ImageSplit([i for i in range(7) if i not in val], val, [])


def test_nothing_is_held_out_where_nothing_is_asked_and_a_class_keeps_an_image():
    assert hold_out([0, 1, 0], 0, seed=0) == ImageSplit([0, 1, 2], [], [])
    assert len(hold_out([0, 0, 1, 1], 1, seed=0).train) == 2
    with pytest.raises(UsageError, match=r"public class 1 has 2 images; .* sets 2 aside"):
        hold_out([0, 0, 0, 1, 1], 2, seed=0)


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


LISTED = Split(private=2, public=2, train=2, val=1, test=1, listed=True)


def test_a_listed_split_takes_identities_in_the_order_of_the_dataset():
    found = split_identities(LISTED, 5)
    assert (found.private, found.public) == ([0, 1], [2, 3])
    found = fold_identities(Folded(LISTED), None, fold=0, available=6, distractors=1)
    assert (found.private, found.public, found.distractors) == ([0, 1], [2, 3], [5])


def test_a_split_that_is_not_listed_has_the_json_that_it_always_had():
    plain = Split(private=2, public=2, train=2, val=1, test=1)
    assert "listed" not in plain.model_dump(mode="json")
    assert LISTED.model_dump(mode="json")["listed"] is True
