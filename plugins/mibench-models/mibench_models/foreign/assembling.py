"""From a network that somebody else wrote to a classifier.

Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mibench.api import Classifier, UsageError
from mibench_models.foreign.body import END, ForeignBody, SealedNetwork, look
from mibench_models.foreign.feed import Feed
from mibench_models.torchvision_models import keep_activations
from mibench_models.torchvision_stages import stage_names
from mibench_models.weights import load_pretrained


def as_classifier(
    net: nn.Module,
    source: str,
    feed: Feed,
    num_classes: int,
    size: int,
    *,
    outputs: str = "logits",
    order: Sequence[int] = (),
) -> Classifier:
    """Return a network as a classifier.

    Where a linear layer makes the logits, that is the head. Otherwise, and of networks that only a file knows, the
    logits are the features too, and there are no stages.

    Args:
        net: the network.
        source: where its structure comes from.
        feed: what pictures it takes.
        num_classes: K.
        size: side of the protocol's images in pixels.
        outputs: ``logits`` or ``probabilities``.
        order: which of its outputs is class k; empty if output k is.

    Raises:
        UsageError: if it has another number of classes, or takes no images of this size.
    """
    mean, std = feed.normalisation(source)
    if not isinstance(net, SealedNetwork):
        keep_activations(net)
    seen = look(net, feed.channels, feed.input_size or size)
    if seen.classes != num_classes:
        raise UsageError(_other_classes(seen.classes, num_classes))
    order = _permutation(order, num_classes)
    plain = bool(seen.head) and outputs == "logits"
    if plain and order:
        _reorder(net.get_submodule(seen.head), order)
    options = {"bgr": feed.channel_order == "bgr", "probabilities": outputs == "probabilities"}
    body = ForeignBody(net, **options, order=order if order and not plain else None)
    stages = [f"net.{path}" for path in stage_names("", net, seen.head) if path in seen.ran] if plain else []
    return Classifier(
        body,
        head=f"net.{seen.head}" if plain else END,
        stage_names=stages,
        mean=mean,
        std=std,
        input_size=feed.input_size,
        channels=feed.channels,
        num_classes=None if plain else num_classes,
    )


def _permutation(order: Sequence[int], num_classes: int) -> Sequence[int]:
    """Return an order of classes, or nothing if it changes nothing."""
    as_they_are = list(range(num_classes))
    if order and sorted(order) != as_they_are:
        raise UsageError(f"order: expected each of the outputs 0 to {num_classes - 1} once, got {list(order)}")
    return order if list(order) != as_they_are else ()


def load_weights(net: nn.Module, state: Mapping[str, Tensor], num_classes: int) -> None:
    """Put trained weights into a network.

    Raises:
        UsageError: if they are of another number of classes.
        DataError: if they do not fit otherwise.
    """
    if all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    own = net.state_dict()
    for name, value in state.items():
        wanted = own[name].shape if name in own else value.shape
        if wanted[1:] == value.shape[1:] and wanted[:1] != value.shape[:1] and wanted[0] == num_classes:
            raise UsageError(_other_classes(value.shape[0], num_classes))
    load_pretrained(net, state, heads=())


def _reorder(head: nn.Module, order: Sequence[int]) -> None:
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(parameter[list(order)].clone())


def _other_classes(has: int, wanted: int) -> str:
    return (
        f"the network has {has} classes, and {wanted} classes have a folder. Give a folder to each class that the"
        " network knows, and to no other."
    )
