"""Parameters: one dataclass is validated, described and turned into a key."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le
from pydantic import model_validator
from pydantic.dataclasses import dataclass as checked

from mibench.api import UsageError, params


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Knobs.

    Attributes:
        lam: strength of the
            penalty.
        norm: which norm.
    """

    presets: ClassVar = {"strong": {"lam": 0.9}}
    lam: Annotated[float, Ge(0), Le(1)] = 0.5
    steps: Annotated[int, Gt(0)] = 10
    mix: Annotated[float, Interval(gt=0, lt=2)] = 1.0
    norm: Literal["linf", "l2"] = "linf"
    widths: tuple[int, ...] = (8, 16)
    name: str
    extra: dict[str, int] = field(default_factory=dict)


@checked(frozen=True)
class Ordered:
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _check(self):
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


@dataclass(frozen=True)
class Plain:
    low: int = 0
    high: int = 1

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low must not be above high")


@pytest.mark.parametrize(
    ("settings", "attribute", "value"),
    [
        ({"lam": "0.25"}, "lam", 0.25),
        ({"lam": 1}, "lam", 1.0),
        ({"steps": "3"}, "steps", 3),
        ({"widths": [1, 2, 3]}, "widths", (1, 2, 3)),
        ({"norm": "l2"}, "norm", "l2"),
        ({}, "lam", 0.5),
    ],
)
def test_values_are_converted(settings, attribute, value):
    built = getattr(params.build(Knobs, {"name": "x", **settings}), attribute)
    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"lamm": 1}, ["defense 'knobs' has no parameter 'lamm'", "Did you mean 'lam'?", "extra, lam, mix, name"]),
        ({"presets": {}}, ["no parameter 'presets'"]),
        ({"lam": "much"}, ["lam = 'much' is not valid", "float >= 0, <= 1"]),
        ({"lam": 2}, ["lam = 2 is not valid", "float >= 0, <= 1"]),
        ({"lam": float("nan")}, ["lam = nan is not valid"]),
        ({"widths": "4, 8"}, ["widths = '4, 8' is not valid", "a list is written [4, 8]"]),
        ({"widths": "['.5', x, nan]"}, ['a list is written [0.5, "x", "nan"]']),
        ({"widths": "8," * 150}, ["valid tuple"]),
        ({"steps": 0}, ["steps = 0", "int > 0"]),
        ({"steps": 1.5}, ["steps = 1.5", "int > 0"]),
        ({"mix": 2.0}, ["mix = 2.0", "float > 0, < 2"]),
        ({"norm": "l1"}, ["norm = 'l1'", "'linf' | 'l2'"]),
        ({"lam": -1, "steps": -1}, ["lam = -1", "steps = -1"]),
    ],
)
def test_wrong_settings_say_what_was_expected(settings, parts):
    with pytest.raises(UsageError) as caught:
        params.build(Knobs, {"name": "x", **settings}, owner="defense 'knobs'")
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_parameter_is_named():
    with pytest.raises(UsageError, match="name"):
        params.build(Knobs, {})


@pytest.mark.parametrize("component", [Ordered, Plain])
def test_an_error_about_several_parameters_has_no_place(component):
    with pytest.raises(UsageError) as caught:
        params.build(component, {"low": 2, "high": 1}, owner="attack 'x'")
    assert str(caught.value).startswith("attack 'x': ")
    assert "low must not be above high" in str(caught.value)


def test_describe_lists_what_is_documented():
    rows = {row.name: row for row in params.describe(Knobs)}
    assert list(rows) == ["lam", "steps", "mix", "norm", "widths", "name", "extra"]
    assert rows["lam"] == ("lam", "float", 0.5, ">= 0, <= 1", "strength of the penalty.", "lam")
    assert rows["mix"].range == "> 0, < 2"
    assert rows["norm"].type == "'linf' | 'l2'"
    assert rows["name"].default == "(required)"
    assert rows["extra"].default == {}
    assert rows["steps"].doc == ""


def test_canonical_is_plain_json_of_every_parameter():
    built = params.build(Knobs, {"name": "x", "lam": "1"})
    assert params.canonical(built) == {
        "lam": 1.0, "steps": 10, "mix": 1.0, "norm": "linf", "widths": [8, 16], "name": "x", "extra": {}
    }  # fmt: skip
    again = params.build(Knobs, params.canonical(built))
    assert again == built


def test_presets_are_class_attributes_not_parameters():
    assert params.presets_of(Knobs) == {"strong": {"lam": 0.9}}
    assert params.presets_of(Plain) == {}


def test_a_component_that_is_no_dataclass_is_refused():
    class Plain:
        pass

    with pytest.raises(UsageError, match="attack 'plain': Plain is no dataclass"):
        params.build(Plain, {}, owner="attack 'plain'")
