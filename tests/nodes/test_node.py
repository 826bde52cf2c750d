"""Nodes: keys depend on every input that can change numbers, and on nothing else."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_factory import DATA, make_node

from mibench.nodes.marks import Ref
from mibench.nodes.node import Node
from mibench.registry.entry import Entry

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def target(params, label="a", **changes):
    return make_node("target", label, defense=Entry("noisy", "1", params), **changes)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_key_ignores_order_and_survives_json(params):
    one, two = target(params), target(dict(reversed(params.items())), "another label")
    assert one.key == two.key
    assert Node.from_json(json.loads(json.dumps(one.to_json()))).key == one.key


@given(VALUES, VALUES)
def test_different_inputs_have_different_keys(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    if not same and a != b:
        assert target({"x": a}).key != target({"x": b}).key


def test_key_follows_its_inputs():
    a, b = make_node("data", identities=[1]).ref, make_node("data", identities=[2]).ref
    assert target({}, private=a).key != target({}, private=b).key
    assert target({}, private=a).key != make_node("evaluator", private=a).key


@pytest.mark.parametrize(
    "stage", ["data", "prior", "pretrain", "evaluator", "target", "reconstruct", "gold", "measure"]
)
def test_a_key_is_the_sha256_of_the_payload(stage):
    node = make_node(stage)
    text = json.dumps(node.payload, sort_keys=True, separators=(",", ":"))
    assert node.key == hashlib.sha256(text.encode()).hexdigest()
    assert node.id == f"{stage}:{node.key[:12]}"
    assert node.summary() == {"id": node.id, "stage": stage, "key": node.key, "label": "a node"}


def test_a_node_that_was_sent_to_a_worker_is_the_same_node():
    node = Node(make_node("measure", evidence=Ref("g" * 64, ("gold",))).inputs, "a · b", {"sha256:0": "/x"})
    again = Node.from_json(json.loads(json.dumps(node.to_json())))
    assert again == node
    assert (again.label, again.files, again.needs) == ("a · b", {"sha256:0": "/x"}, node.needs)


def test_where_files_lie_is_in_no_key():
    inputs = make_node("data").inputs
    assert Node(inputs, "x", {"sha256:0": "/here"}).key == Node(inputs, "x", {"sha256:0": "/there"}).key


def test_what_others_hold_of_a_node_says_who_makes_it():
    node = make_node("data")
    assert (node.ref.key, node.ref.stages, node.ref.stage) == (node.key, ("data",), "data")
    assert make_node("gold").needs == {"private": DATA.key}
