"""People of protocols with a gallery or folds: who is private, public and a distractor, in both variants."""

import re
from itertools import combinations

import pytest
from fake_plugin import HERE
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.protocol.choices import PublicSource
from mibench.protocol.identities import Folded, fold_identities, split_identities
from mibench.protocol.load import parse_protocol
from mibench.protocol.schema import Split

REFEREE = (HERE / "referee.yaml").read_text()


def _split(private: int, public: int, side: str = "front") -> Split:
    return Split(private=private, public=public, train=1, val=0, test=1, private_from=side, seed=3)  # type: ignore[arg-type]


def _people(split: Split, tuned: Split | None, available: int, **more: int | bool):
    folds = int(more.pop("folds", 1))
    fold, distractors = int(more.pop("fold", 0)), int(more.pop("distractors", 0))
    reported, validation = Folded(split, folds), bool(more.pop("validation", False))
    return fold_identities(
        reported,
        Folded(tuned) if tuned else None,
        fold=fold,
        available=available,
        distractors=distractors,
        validation=validation,
    )


@given(
    private=st.integers(2, 6),
    tuned=st.integers(2, 6),
    public=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    distractors=st.integers(0, 8),
    folds=st.integers(1, 3),
    spare=st.integers(0, 3),
)
def test_all_groups_are_disjoint_where_there_are_enough_people(private, tuned, public, distractors, folds, spare):
    split, other = _split(private, public[0]), _split(tuned, public[1], "back")
    available = folds * private + tuned + max(public) + distractors + spare
    shared = {"available": available, "distractors": distractors}
    test = [_people(split, other, folds=folds, fold=fold, **shared) for fold in range(folds)]
    validation = _people(split, other, folds=folds, validation=True, **shared)
    private_groups = [set(found.private) for found in (*test, validation)]
    public_people = {i for found in (*test, validation) for i in found.public}
    groups = [*private_groups, public_people, set(validation.distractors)]
    assert all(not one & two for one, two in combinations(groups, 2))
    assert all(found.distractors == validation.distractors for found in test), "they are the same people everywhere"
    assert len(validation.distractors) == distractors
    assert [len(found.private) for found in test] == [private] * folds
    assert (len(validation.private), len(validation.public)) == (tuned, public[1])


@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 12), st.booleans())
def test_without_folds_and_distractors_people_are_those_of_protocols_without_a_gallery(private, public, spare, tunes):
    split, back = _split(private, public), _split(private, public, "back")
    available = max(private + public + spare, 2 * private)
    found = _people(split, back if tunes else None, available)
    assert found == split_identities(split, available)


def test_the_second_fold_of_two_halves_swaps_them():
    first, second = (_people(_split(20, 20), None, 40, folds=2, fold=fold) for fold in (0, 1))
    assert (second.private, second.public) == (first.public, first.private)
    assert first == split_identities(_split(20, 20), 40)


def test_folds_share_the_public_people_where_there_are_enough():
    first, second = (_people(_split(4, 6), None, 14, folds=2, fold=fold) for fold in (0, 1))
    assert first.public == second.public


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"distractors": 6}, "wants 6 distractors beside 3 private and 2 public identities; the dataset has 10"),
        (
            {"distractors": 3, "validation": True},
            "3 on whom it reports are none; the dataset has 10, which leaves 2",
        ),
        ({"folds": 4}, "3 private identities in each of 4 folds, nobody in two of them; the dataset has 10"),
    ],
)
def test_too_few_people_are_refused_with_the_numbers(more, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        _people(_split(3, 2), _split(3, 2, "back"), 10, **more)


def test_one_distractor_less_is_enough():
    assert len(_people(_split(3, 2), None, 10, distractors=5).distractors) == 5
    assert len(_people(_split(3, 2), _split(3, 2, "back"), 10, distractors=2, validation=True).distractors) == 2


@pytest.mark.parametrize("tuned", [_split(3, 2), _split(4, 2, "back")], ids=["same", "overlapping"])
def test_parameters_are_not_chosen_on_people_who_are_reported_on(tuned):
    message = r"\d of the \d private people of the validation variant are people on whom the protocol reports"
    with pytest.raises(UsageError, match=message):
        _people(_split(3, 2), tuned, 6, validation=True)


def test_a_protocol_without_validation_people_has_no_validation_variant():
    text = REFEREE.replace("validation: {folds: 1, split: {private_from: back}}\n", "")
    assert parse_protocol(text).tuned is None
    with pytest.raises(UsageError, match=r"referee\.yaml has no validation variant: all its people are reported on"):
        parse_protocol(text, "validation", source="referee.yaml")


def test_each_variant_knows_the_other():
    test, validation = parse_protocol(REFEREE), parse_protocol(REFEREE, "validation")
    assert validation.reported == test.protocol
    assert test.tuned == validation.protocol
    assert (test.protocol.folds, validation.protocol.folds) == (2, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gallery: {images: portraits, distractors: 3}\n", ""),
        ("distractors: 3", "distractors: 2"),
        ("images: portraits", "images: train"),
        ("folds: 2\n", ""),
        ("suite: [guess, guess/deep]\n", ""),
        ("lookalike: {name: pool, params: {size: 4}}\n", ""),
    ],
)
def test_what_is_new_is_frozen_while_it_is_set(old, new):
    assert old in REFEREE
    assert parse_protocol(REFEREE.replace(old, new)).digest != parse_protocol(REFEREE).digest


def test_what_is_new_and_unset_is_left_out():
    dumped = parse_protocol((HERE / "toy.yaml").read_text()).protocol.model_dump(mode="json")
    assert not {"gallery", "folds", "suite", "lookalike", "attack_classes"} & set(dumped)
    stated = (HERE / "toy.yaml").read_text() + "folds: 1\nsuite: []\n"
    assert parse_protocol(stated).digest == parse_protocol((HERE / "toy.yaml").read_text()).digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("distractors: 3", "distractors: -1", "gallery.distractors: .*greater than or equal to 0"),
        ("images: portraits", "images: faces", "gallery.images: .*'train' or 'portraits'"),
        ("folds: 2", "folds: 0", "folds: .*greater than or equal to 1"),
        ("[guess, guess/deep]", "[guess, guess/]", "suite.1: .*pattern"),
        ("[guess, guess/deep]", "[guess, guess]", "suite: .*'guess' is given twice"),
    ],
)
def test_a_wrong_referee_says_where(old, new, message):
    with pytest.raises(UsageError, match=message):
        parse_protocol(REFEREE.replace(old, new))


def test_a_source_that_says_nothing_of_its_images_has_the_digest_that_it_had():
    elsewhere = {"dataset": {"name": "other-blobs"}, "identities": 5}
    assert PublicSource(**elsewhere).model_dump(mode="json").keys() == elsewhere.keys()
    assert PublicSource(**elsewhere, images="portraits").model_dump(mode="json")["images"] == "portraits"
