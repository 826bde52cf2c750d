"""The choice of attacked classes: listed, drawn, or drawn balanced over what a dataset tells of its identities."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from mibench.api import UsageError
from mibench.protocol.attacked import choose_classes
from mibench.protocol.load import load_protocol
from mibench.protocol.schema import ClassChoice
from mibench.registry import load_registry

PRIVATE = [3 * identity for identity in range(100)]
"""Identity of each class."""
SEX = {"sex": ["woman" if identity < 120 else "man" for identity in range(300)]}
"""Forty classes of women, sixty of men."""


def test_listed_classes_are_taken_as_they_are():
    assert choose_classes(ClassChoice(labels=(7, 0, 99)), PRIVATE) == [0, 7, 99]
    with pytest.raises(UsageError, match="lists class 100; the protocol's are 0 to 99"):
        choose_classes(ClassChoice(labels=(100,)), PRIVATE)


def test_drawn_classes_depend_on_the_seed_alone_and_all_have_a_chance():
    drawn = {seed: choose_classes(ClassChoice(number=25, seed=seed), PRIVATE) for seed in range(40)}
    assert all(len(set(own)) == 25 and own == sorted(own) for own in drawn.values())
    assert choose_classes(ClassChoice(number=25, seed=3), PRIVATE) == drawn[3] != drawn[4]
    counts = Counter(label for own in drawn.values() for label in own)
    assert len(counts) == 100  # a class is left out by all forty draws with probability 1e-5
    assert max(counts.values()) < 25
    assert choose_classes(ClassChoice(number=100), PRIVATE) == list(range(100))
    # Drawing more keeps those that were drawn.
    assert set(choose_classes(ClassChoice(number=40, seed=3), PRIVATE)) > set(drawn[3])


@pytest.mark.parametrize(("number", "men", "women"), [(74, 37, 37), (75, 38, 37), (1, 1, 0)])
def test_a_balanced_draw_has_half_of_each_sex(number: int, men: int, women: int):
    chosen = choose_classes(ClassChoice(number=number, seed=42, balance="sex"), PRIVATE, SEX)
    counts = Counter(SEX["sex"][PRIVATE[label]] for label in chosen)
    assert (counts["man"], counts["woman"], len(set(chosen))) == (men, women, number)


def test_what_a_dataset_cannot_give_is_refused():
    with pytest.raises(UsageError, match="wants 101 classes of the private identities; there are 100"):
        choose_classes(ClassChoice(number=101), PRIVATE)
    with pytest.raises(UsageError, match="wants 41 classes of sex woman; there are 40"):
        choose_classes(ClassChoice(number=82, balance="sex"), PRIVATE, SEX)
    with pytest.raises(UsageError, match="over 'age', which the dataset does not tell; it tells sex"):
        choose_classes(ClassChoice(number=2, balance="age"), PRIVATE, SEX)
    with pytest.raises(UsageError, match="it tells nothing of its identities"):
        choose_classes(ClassChoice(number=2, balance="age"), PRIVATE)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "either labels"),
        ({"labels": (1,), "number": 1}, "either labels"),
        ({"labels": (1, 1)}, "once"),
        ({"labels": (1,), "balance": "sex"}, "balance belongs to number"),
        ({"labels": (-1,)}, "greater than or equal to 0"),
        ({"number": 0}, "greater than or equal to 1"),
    ],
)
def test_choices_that_say_nothing_or_two_things_are_refused(fields: dict, reason: str):
    with pytest.raises(ValidationError, match=reason):
        ClassChoice(**fields)


@pytest.mark.parametrize(("name", "digest"), [("orl64@1.0", "7b0fe6"), ("rendered64", "8729a8")])
def test_protocols_on_all_classes_keep_their_digests(name: str, digest: str):
    loaded = load_protocol(load_registry(), name)
    assert loaded.digest.startswith(digest)
    assert "attack_classes" not in loaded.protocol.model_dump(mode="json")
