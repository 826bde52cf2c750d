"""Splits that a dataset brings: which image is for what, who has too few, and that older digests and keys stay."""

import pytest
from pydantic import TypeAdapter

from mibench.api import PARTS, UsageError
from mibench.protocol.schema import Split
from mibench.protocol.split import ImageSplit, PrivateSplit, private_indices

NUMBERS = {"seed": 3, "private": 2, "public": 0, "train": 1, "val": 0, "test": 1}
LABELS = [0, 0, 0, 1, 1, 1]


def split(**changes):
    return PrivateSplit.of(Split(**{**NUMBERS, "assigned": True, **changes}), [7, 9])


def parts(text):
    return [PARTS.index(part) for part in text.split()]


def test_every_image_goes_where_the_dataset_says():
    found = private_indices(split(), LABELS, parts("test train unused train val test"))
    assert found == ImageSplit([1, 3], [4], [0, 5])


@pytest.mark.parametrize(
    ("told", "changes", "words"),
    [
        ("train train train train train test", {}, "identity 7 has 0 images for 'test'"),
        ("train train test train train test", {"train": 3}, "identity 7 has 2 images for 'train'.*at least 3"),
        ("train train test train train test", {"val": 1}, "identity 7 has 0 images for 'val'"),
    ],
)
def test_who_has_too_few_is_named(told, changes, words):
    with pytest.raises(UsageError, match=words):
        private_indices(split(**changes), LABELS, parts(told))


def test_a_dataset_that_says_nothing_is_refused():
    with pytest.raises(UsageError, match=r"split\.assigned.*give it a split file"):
        private_indices(split(), LABELS, None)


def test_parts_count_for_nothing_where_the_protocol_divides():
    plain = split(assigned=False)
    told = parts("test train unused train val test")
    assert private_indices(plain, LABELS, told) == private_indices(plain, LABELS)


def test_the_json_of_older_splits_stays():
    assert Split(**NUMBERS).model_dump(mode="json") == {**NUMBERS, "private_from": "front"}
    assert split().assigned
    adapter = TypeAdapter(PrivateSplit)
    plain = split(assigned=False)
    assert adapter.dump_python(plain, mode="json") == {"seed": 3, "train": 1, "val": 0, "test": 1, "identities": [7, 9]}
    for one in (plain, split()):
        assert adapter.validate_python(adapter.dump_python(one, mode="json")) == one
