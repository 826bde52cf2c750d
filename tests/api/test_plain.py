"""What may stand for what in parameters: no boolean for a number, nothing that is not finite."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError, params
from mibench.api.plain import brief


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Knobs:
    lam: Annotated[float, Ge(0)] = 0.5
    steps: Annotated[int, Ge(0)] = 10
    limit: Annotated[int | None, Ge(1)] = None
    on: bool = False
    pair: tuple[float, float] = (0.0, 1.0)
    mode: Literal["mean"] | float = "mean"
    order: Literal[1, 2] = 1
    table: dict[str, float] = field(default_factory=dict)
    inner: Inner = Inner()
    anything: Any = None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lam": True}, "lam = True is not valid; expected float >= 0 (a boolean is no number)"),
        ({"steps": False}, "steps = False is not valid"),
        ({"limit": True}, "limit = True is not valid"),
        ({"order": True}, "order = True is not valid"),
        ({"mode": True}, "mode"),
        ({"pair": [True, 1]}, "pair.0 = True is not valid"),
        ({"table": {"a": True}}, "table.a = True is not valid"),
        ({"inner": {"rate": True}}, "inner.rate = True is not valid"),
        ({"on": 1}, "on = 1 is not valid; expected bool (expected true or false)"),
        ({"on": 0.0}, "on = 0.0 is not valid"),
        ({"on": "yes"}, "on = 'yes' is not valid"),
        ({"on": "true"}, "on = 'true' is not valid"),
        ({"steps": 3.0}, "steps = 3.0 is not valid; expected int >= 0 (expected a whole number"),
        ({"steps": "3.0"}, "steps = '3.0' is not valid"),
        ({"steps": "010"}, "steps = '010' is not valid"),
        ({"steps": "1_000"}, "steps = '1_000' is not valid"),
        ({"lam": "1_0"}, "lam = '1_0' is not valid"),
        ({"lam": "inf"}, "lam = 'inf' is not valid"),
        ({"lam": "1" * 5000}, "(5002 characters) is not valid"),
        ({"lam": float("inf")}, "lam = inf is not valid; expected float >= 0 (expected a finite number, got inf)"),
        ({"lam": 10**400}, "lam = 1000"),
        ({"steps": 2**63}, "fits into 64 bits"),
        ({"anything": {"deep": float("nan")}}, "anything.deep = nan is not valid"),
        ({"anything": "\ud800"}, "expected UTF-8"),
    ],
)
def test_nothing_is_read_as_what_it_is_not(settings, said):
    with pytest.raises(UsageError) as caught:
        params.build(Knobs, settings, owner="attack 'x'")
    assert said in str(caught.value)
    assert str(caught.value).startswith("attack 'x': ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"lam": 1}, 1.0), ({"lam": "1e-3"}, 0.001), ({"lam": ".5"}, 0.5), ({"lam": "+2."}, 2.0), ({"lam": " 3 "}, 3.0),
        ({"steps": "12"}, 12), ({"steps": 2**63 - 1}, 2**63 - 1), ({"on": True}, True), ({"limit": None}, None),
        ({"pair": [0, 1]}, (0.0, 1.0)), ({"mode": 2}, 2.0), ({"inner": {"rate": 2}}, Inner(rate=2.0)),
    ],
)  # fmt: skip
def test_a_whole_number_may_stand_for_a_fraction_and_text_for_a_number(settings, value):
    (name,) = settings
    found = getattr(params.build(Knobs, settings), name)
    assert found == value
    assert type(found) is type(value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
names = st.sampled_from(["lam", "steps", "limit", "on", "pair", "mode", "order", "table", "inner"])


@given(st.dictionaries(names, st.recursive(scalars, st.lists, max_leaves=4)))
def test_whatever_is_given_is_kept_as_it_is_or_refused(settings):
    try:
        made = params.canonical(params.build(Knobs, settings))
    except UsageError:
        return
    for name, value in settings.items():
        assert isinstance(made[name], bool) == isinstance(value, bool)
        if not isinstance(value, str):
            assert made[name] == value


def test_long_values_are_cut():
    assert brief("x" * 1000).endswith("... (1002 characters)")
    assert brief(16**9000) == "a int"
