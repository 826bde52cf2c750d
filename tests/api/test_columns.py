"""What metrics announce of their columns."""

from __future__ import annotations

import pytest

from mibench.api import Column, Quantity
from mibench.api.column_names import read_name


def names(column: Column, **params: object) -> list[str]:
    return [found.column.name for found in column.expand(params, ["a", "b"])]


def test_a_column_that_only_has_a_name_is_read_by_it() -> None:
    (found,) = Column(name="theirs@3").expand({}, ["a"])
    assert (found.column.name, found.quantity) == ("theirs@3", Quantity(base="theirs", k=3))
    both = list(Column(name="theirs@1/{evaluator}").expand({}, ["a", "b"]))
    assert [found.quantity for found in both] == [Quantity(base="theirs", k=1, evaluator=judge) for judge in "ab"]


def test_fields_make_the_name() -> None:
    column = Column(role="attack_accuracy", base="hit", k=5, evaluator="{evaluator}")
    assert column.name == "hit@5/{evaluator}"
    assert names(column) == ["hit@5/a", "hit@5/b"]
    assert [found.quantity.evaluator for found in column.expand({}, ["a", "b"])] == ["a", "b"]
    assert [found.column.evaluator for found in column.expand({}, ["a", "b"])] == ["a", "b"]


def test_values_of_a_parameter_are_radii_if_the_column_says_so() -> None:
    column = Column(role="robust_accuracy", base="held", each="eps", radius=True)
    assert names(column, eps=(0.5 / 255, 2 / 255)) == ["held@0.5", "held@2"]
    assert [found.quantity.radius for found in column.expand({"eps": (0.1, 0.2)}, [])] == [0.1, 0.2]
    plain = Column(name="sigma/{each}", each="sd", base="sigma")
    assert names(plain, sd=(0.1, 0.2)) == ["sigma/0.1", "sigma/0.2"]
    assert [found.quantity for found in plain.expand({"sd": (0.1,)}, [])] == [Quantity(base="sigma")]


def test_a_column_without_a_name_or_without_its_radii_is_refused() -> None:
    with pytest.raises(ValueError, match=r"column 'held'.*state it"):
        Column(base="held", radius=True)
    with pytest.raises(ValueError, match="state a name, a base or a role"):
        Column(unit="nats")


def test_frozen_names_and_fields_agree() -> None:
    column = Column(role="robust_accuracy", base="robust_acc", each="eps", scale=255, radius=True)
    for found in column.expand({"eps": (0.25 / 255, 1 / 255)}, []):
        assert found.quantity == read_name(found.column.name)
