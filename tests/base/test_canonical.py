"""Canonical JSON: one text for one value, another text for another."""

from __future__ import annotations

import json
import math
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mibench.base.canonical import canonical_json, digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def typed(value: object) -> object:
    """Tell 1, 1.0 and True apart, which == does not, and not -0.0 from 0.0."""
    if isinstance(value, dict):
        return {"dict": sorted((key, repr(typed(item))) for key, item in value.items())}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return type(value).__name__, value + 0.0 if isinstance(value, float) else value


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_reads_back_to_the_same_value(value: object) -> None:
    again = json.loads(canonical_json(value))
    assert repr(typed(again)) == repr(typed(value))
    assert canonical_json(again) == canonical_json(value)


@given(VALUES, VALUES)
@settings(max_examples=150, deadline=None)
def test_text_is_equal_exactly_if_values_are(one: object, other: object) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (repr(typed(one)) == repr(typed(other)))


@given(st.dictionaries(TEXT, SCALARS, max_size=6), st.randoms())
@settings(max_examples=50, deadline=None)
def test_order_of_keys_does_not_matter(value: dict[str, object], random: object) -> None:
    keys = list(value)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert digest({key: value[key] for key in keys}) == digest(value)


def test_text_is_frozen() -> None:
    assert canonical_json({"b": (1, 1.0, 0.1), "a": -0.0, "é": [True, None]}) == (
        '{"a":0.0,"b":[1,1.0,0.1],"é":[true,null]}'
    )
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_types_of_numbers_are_told_apart() -> None:
    assert len({digest(1), digest(1.0), digest(True), digest("1")}) == 4
    assert digest(-0.0) == digest(0.0)


def test_subclasses_do_not_change_the_text() -> None:
    class Word(StrEnum):
        """An enumeration whose members are strings."""

        A = "a"

    assert canonical_json([np.float64(0.1), Word.A]) == '[0.1,"a"]'


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_errors_that_name_the_place(bad: float) -> None:
    with pytest.raises(ValueError, match=r"\$\.a\[1\]"):
        canonical_json({"a": [0, bad]})


def test_lone_surrogates_are_errors() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        canonical_json({"a": "\ud800"})


@pytest.mark.parametrize("bad", [{1, 2}, b"x", np.zeros(2), np.int64(1), object()])
def test_what_is_not_json_is_an_error(bad: object) -> None:
    with pytest.raises(TypeError, match=r"\$\.a"):
        canonical_json({"a": bad})


def test_keys_are_strings() -> None:
    with pytest.raises(TypeError, match="the key 1"):
        canonical_json({1: "a"})
