"""What is known to fail before anything has run: too few people or images, files that are not there."""

from __future__ import annotations

from mibench.api.errors import UsageError
from mibench.api.specs import READS_FILES
from mibench.nodes.classifier import TargetInputs
from mibench.nodes.node import Node
from mibench.plan.context import ProtocolContext
from mibench.plan.facts import Facts


def check_images(fixed: ProtocolContext, facts: Facts) -> None:
    """Refuse a split that a dataset cannot fill, as far as it knows its numbers without reading.

    Raises:
        UsageError: for an identity with too few images, or a part that is measured and has none.
    """
    split = fixed.protocol.split
    if fixed.split_name == "val" and not split.val:
        raise UsageError(
            "the validation variant measures on validation images, and split.val is 0; set it to 1 or more"
        )
    fewest = facts.fewest_images(fixed.dataset.entry(), fixed.identities.private)
    if fewest is not None and fewest < split.train + split.val + split.test:
        raise UsageError(
            f"an identity of {fixed.dataset.name} has {fewest} images; the protocol wants {split.train} to train, "
            f"{split.val} to validate and {split.test} to test"
        )
    source = fixed.protocol.prior.source
    if source is not None and fixed.source is not None:
        available = facts.identities(fixed.source.entry())
        if source.identities > available:
            raise UsageError(f"prior.source wants {source.identities} identities; the dataset has {available}")


def check_node(node: Node, facts: Facts) -> list[str]:
    """Return what a node that has to run lacks: files that are missing or unreadable.

    Raises:
        UsageError: if a defense finds that it cannot train as the protocol does.
    """
    reading = [(kind, entry) for kind, entry in node.inputs.components().values() if kind in READS_FILES]
    missing = [line for kind, entry in reading for line in facts.missing(kind, entry)]
    if isinstance(node.inputs, TargetInputs):
        recipe, split = node.inputs.recipe, node.inputs.split
        images = len(split.identities) * split.train
        facts.check_recipe(node.inputs.defense, num_images=images, batch=recipe.batch, epochs=recipe.epochs)
    return missing
