"""Builders for tests of stores: a node, and its artifact."""

from dataclasses import replace

from node_factory import SPLIT, make_node


def node(n=1):
    return make_node("gold", split=replace(SPLIT, seed=n))


def put(store, node, text="hello"):
    with store.commit(node.stage, node.key, node.payload, {"seconds": 1.0}) as draft:
        (draft / "a.txt").write_text(text)
    return store.find(node.stage, node.key)
