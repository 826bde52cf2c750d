"""Keys: they depend on every input that can change numbers, and on nothing else."""

import json

from hypothesis import given
from hypothesis import strategies as st
from mibench.plan.node import Node, make_node

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_key_ignores_order_and_survives_json(inputs):
    one = make_node("target", "a", {}, inputs=inputs)
    two = make_node("target", "another label", {}, inputs=dict(reversed(inputs.items())))
    assert one.key == two.key
    assert Node.from_json(json.loads(json.dumps(one.to_json()))).key == one.key


@given(VALUES, VALUES)
def test_different_inputs_have_different_keys(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    if not same and a != b:
        assert make_node("target", "", {}, x=a).key != make_node("target", "", {}, x=b).key


def test_key_follows_its_inputs():
    a, b = make_node("data", "", {}, n=1), make_node("data", "", {}, n=2)
    assert make_node("target", "", {"private": a}, s=0).key != make_node("target", "", {"private": b}, s=0).key
    assert make_node("target", "", {"private": a}, s=0).key != make_node("evaluator", "", {"private": a}, s=0).key
