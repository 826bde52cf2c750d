"""What a number is: as fields, and what names say of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibench.api.column_names import beyond_name, read_name
from mibench.api.metric import Measurement
from mibench.api.quantity import Quantity, column_name, radius_text

ROBUST = {"role": "robust_accuracy", "base": "robust_acc"}
READ = {
    "attack_acc@5/res/net": {"role": "attack_accuracy", "base": "attack_acc", "k": 5, "evaluator": "res/net"},
    "attack_acc@1": {"role": "attack_accuracy", "base": "attack_acc", "k": 1},
    "reid@1": {"role": "re_identification", "base": "reid", "k": 1},
    "accuracy": {"role": "accuracy", "base": "accuracy", "k": 1},
    "accuracy@5": {"role": "accuracy", "base": "accuracy", "k": 5},
    "accuracy@1/train": {"role": "accuracy", "base": "accuracy", "k": 1, "part": "train"},
    "robust_acc@2": {**ROBUST, "radius": 2 / 255},
    "robust_acc@0.25": {**ROBUST, "radius": 0.25 / 255},
    "robust_acc@eps=2/255": {**ROBUST, "radius": 2 / 255},
    "robust_acc@eps=1/2": {**ROBUST, "radius": 0.5},
    "robust_acc@1/0": {**ROBUST, "radius": 1 / 255},
    "robust_acc_alone/fab-t/0.5": {**ROBUST, "base": "robust_acc_alone", "attack": "fab-t", "radius": 0.5 / 255},
    "loss_rise/2": {"base": "loss_rise", "radius": 2 / 255},
    "loss_rise/square/2": {"base": "loss_rise", "attack": "square", "radius": 2 / 255},
    "attack_conf/net": {"base": "attack_conf", "evaluator": "net"},
    "theirs@3/judge": {"base": "theirs", "k": 3, "evaluator": "judge"},
    "theirs@1234567": {"base": "theirs@1234567"},
    "robust_acc": {"base": "robust_acc"},
    "robust_acc@2/net": {"base": "robust_acc@2/net"},
    "robust_radius@2": {"base": "robust_radius", "k": 2},
    "reid_cosine": {"base": "reid_cosine"},
    "nn_ratio/mean": {"base": "nn_ratio/mean"},
    "a@b@3": {"base": "a@b@3"},
    "line@1/two\nlines": {"base": "line", "k": 1, "evaluator": "two\nlines"},
    "": {},
}


@pytest.mark.parametrize("name", READ)
def test_what_names_say(name: str) -> None:
    assert read_name(name).stated() == READ[name]


@given(st.text(max_size=40))
def test_any_text_is_a_name(name: str) -> None:
    assert isinstance(read_name(name), Quantity)


WORD = st.text("abcdefghijklmnop_-", min_size=1, max_size=8)


@given(WORD, st.integers(1, 999_999), st.one_of(st.just(""), WORD))
def test_a_name_says_what_it_was_made_of(base: str, k: int, evaluator: str) -> None:
    made = Quantity(base=base, k=k, evaluator=evaluator)
    assert read_name(column_name(made)) == made


@given(st.floats(1e-6, 1))
def test_radii_are_said_to_four_digits(radius: float) -> None:
    made = Quantity(role="robust_accuracy", base="robust_acc", radius=radius)
    assert read_name(column_name(made)).radius == pytest.approx(radius, rel=1e-3)
    assert beyond_name(column_name(made), made) is None


@pytest.mark.parametrize(
    ("quantity", "name"),
    [
        (Quantity(role="attack_accuracy", k=1, evaluator="net"), "attack_accuracy@1/net"),
        (Quantity(role="robust_accuracy", radius=1 / 255, attack="pgd"), "robust_accuracy@1/pgd"),
        (Quantity(role="accuracy", base="acc", k=5, part="train"), "acc@5/train"),
        (Quantity(base="sharpness"), "sharpness"),
    ],
)
def test_names_of_fields(quantity: Quantity, name: str) -> None:
    assert column_name(quantity) == name


def test_what_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="state a name, a base or a role"):
        column_name(Quantity(k=1))
    with pytest.raises(ValueError, match="robust has guesses and a radius"):
        column_name(Quantity(base="robust", k=1, radius=0.1))


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("reid@1", Quantity(role="re_identification", base="reid", k=5)),
        ("recognised@1/net", Quantity(role="attack_accuracy", base="recognised", k=1, evaluator="net")),
        ("robust_acc@2", Quantity(role="robust_accuracy", base="robust_acc", radius=3 / 255)),
        ("robust_acc@2", Quantity(role="robust_accuracy", base="robust_acc")),
        ("sharpness@3", Quantity(base="sharpness@3")),
    ],
)
def test_what_a_name_does_not_say_is_kept(name: str, quantity: Quantity) -> None:
    assert beyond_name(name, quantity) == quantity


def test_a_family_has_any_number_of_guesses() -> None:
    one, five = (Quantity(role="accuracy", k=k, evaluator="net") for k in (1, 5))
    assert one.family == five.family == Quantity(role="accuracy", base="accuracy", evaluator="net")
    assert one.family != Quantity(role="accuracy", k=1, evaluator="other").family
    assert one.family != Quantity(role="accuracy", k=1, evaluator="net", part="train").family


def test_radius_text() -> None:
    texts = [radius_text(eps) for eps in (0.25 / 255, 1 / 255, 1e-5, 0.031, 1.0)]
    assert texts == ["0.25", "1", "0.00255", "7.905", "255"]


def measurement(**fields: object) -> Measurement:
    return Measurement(value=0.5, unit="fraction", higher_is_better=True, n=4, per_class=[0.5], **fields)


def test_a_measurement_is_named_by_its_fields_or_read_by_its_name() -> None:
    stated = measurement(role="attack_accuracy", base="attack_acc", k=1, evaluator="net")
    assert stated.name == "attack_acc@1/net"
    named = measurement(name="attack_acc@1/net")
    assert named.quantity == stated.quantity == read_name("attack_acc@1/net")
    assert named.evaluator == ""  # what is not stated is only read
    other = measurement(name="recognised", role="attack_accuracy", k=1)
    assert (other.name, other.quantity.base) == ("recognised", "attack_accuracy")
    with pytest.raises(ValueError, match="state a name"):
        measurement()
