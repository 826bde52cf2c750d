"""Builders for tests of stores: a node without inputs, and its artifact."""

from mibench.plan.node import make_node


def node(n=1):
    return make_node("gold", "a node", {}, n=n)


def put(store, node, text="hello"):
    with store.commit(node.stage, node.key, node.payload, {"seconds": 1.0}) as draft:
        (draft / "a.txt").write_text(text)
    return store.find(node.stage, node.key)
