"""Numbers and text for people."""

from __future__ import annotations

import pytest

from mibench.results.display import flatten, printable, short, with_interval


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.284, ".28"), (1, "1.00"), (0, ".00"), (-0.001, ".00"), (-0.5, "-.50"), (10.05, "10.05"), (None, "–")],
)
def test_short(value: float | None, expected: str) -> None:
    assert short(value) == expected


def test_with_interval() -> None:
    assert with_interval(0.28, (0.2, 0.37)) == ".28 [.20 .37]"
    assert with_interval(0.28, None) == ".28"
    assert with_interval(None, None) == "–"


def test_printable_keeps_to_one_clean_line() -> None:
    assert printable("a\nb\x1b[31m\u202ec\x00") == "a b [31m c "
    assert printable("x" * 1000) == "x" * 199 + "…"
    assert printable("x" * 200) == "x" * 200
    assert printable("abcd", limit=3) == "ab…"


def test_flatten() -> None:
    assert list(flatten({"a": {"b": {"c": 1.5}}, "d": [1, "x"], "e": {}, "f": "text"})) == [
        ("a.b.c", "1.5"),
        ("d", '[1, "x"]'),
        ("e", "{}"),
        ("f", "text"),
    ]
