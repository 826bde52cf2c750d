"""Signals become plain numbers, or a sentence about what they are instead."""

import math

import numpy as np
import pytest
import torch

from mibench.api import MibenchError
from mibench.training.signals import brief, number, numbers, printable


@pytest.mark.parametrize("given", [2, 2.5, torch.tensor(2.5), torch.tensor([[2.5]]), np.float64(2.5), np.int64(2)])
def test_scalars_of_any_library_are_plain_numbers(given):
    found = numbers({"a": given}, "a signal")["a"]
    assert type(found) in (int, float, np.float64)
    assert found == float(given)


@pytest.mark.parametrize("given", [float("nan"), float("inf"), torch.tensor(float("-inf"))])
def test_what_is_not_finite_stays_a_number_here(given):
    assert not math.isfinite(number(given, "a signal"))


@pytest.mark.parametrize(
    ("signals", "told"),
    [
        ([1.0], "a signal of X: expected numbers by name, got a list"),
        ({"a": "much"}, "a signal of X, 'a': expected a number, got 'much' (str)"),
        ({"a": None}, "a signal of X, 'a': expected a number, got None (NoneType)"),
        ({"a": torch.zeros(2)}, "a signal of X, 'a': expected a number, got tensor([0., 0.]) (Tensor)"),
    ],
)
def test_anything_else_is_explained(signals, told):
    with pytest.raises(MibenchError) as caught:
        numbers(signals, "a signal of X")
    assert str(caught.value) == told


def test_names_become_text():
    assert numbers({1: 2.0}, "a signal") == {"1": 2.0}


def test_json_has_text_for_what_is_not_finite():
    given = {"a": 1.5, "b": float("nan"), "c": float("inf"), "d": float("-inf")}
    assert printable(given) == {"a": 1.5, "b": "nan", "c": "inf", "d": "-inf"}


def test_long_values_are_cut():
    assert brief("x" * 100) == f"'{'x' * 39}... (str)"
    assert brief("x") == "'x' (str)"
