"""DenseNets whose layers are built as narrow as weaker skips leave their inputs.

Shapes: C channels of a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mibench.api import Classifier, UsageError
from mibench_defenses.parts.skips import DENSE_BLOCK


def narrow_densenet(classifier: Classifier, scales: Sequence[float]) -> None:
    """Build every layer anew that gets fewer channels than in the plain DenseNet, and a head that fits, in place.

    A layer passes round(s * C) channels of its input on beside its own. The transition after a block halves what is
    left, so all later layers are narrower too.

    Args:
        classifier: an untrained torchvision DenseNet; layers that keep their width keep their weights.
        scales: scale s of each dense block.

    Raises:
        UsageError: if the network has trained weights, which do not fit narrow layers.
    """
    features: Any = classifier.body.get_submodule("features")
    if any(isinstance(m, nn.BatchNorm2d) and m.running_mean is not None and bool(m.running_mean.any())
           for m in features.modules()):  # fmt: skip
        raise UsageError(
            "rolss: narrow=true builds layers that trained weights do not fit. Start at random weights"
            " (--set model.weights=none and a recipe with start: random), or set narrow=false."
        )
    left = iter(scales)
    channels = features.conv0.out_channels
    for module in features:
        if type(module).__name__ == DENSE_BLOCK:
            channels = _narrow_block(module, channels, next(left))
        elif hasattr(module, "conv"):  # a transition
            module.norm = _norm(module.norm, channels)
            module.conv = _conv(module.conv, channels, channels // 2)
            channels //= 2
    features.norm5 = _norm(features.norm5, channels)
    head: Any = classifier.head
    if head.in_features != channels:
        classifier.replace_head(nn.Linear(channels, head.out_features))


def _narrow_block(block: Any, channels: int, scale: float) -> int:
    """Narrow the layers of a dense block that ``channels`` enter; return how many leave it."""
    growth = next(iter(block.values())).conv2.out_channels
    kept, last = 0, channels
    for layer in block.values():
        layer.norm1 = _norm(layer.norm1, kept + last)
        layer.conv1 = _conv(layer.conv1, kept + last, layer.conv1.out_channels)
        kept, last = kept + round(scale * last), growth
    return kept + last


def _norm(old: nn.BatchNorm2d, channels: int) -> nn.BatchNorm2d:
    return old if old.num_features == channels else nn.BatchNorm2d(channels)


def _conv(old: nn.Conv2d, entering: int, leaving: int) -> nn.Conv2d:
    if (old.in_channels, old.out_channels) == (entering, leaving):
        return old
    made = nn.Conv2d(entering, leaving, 1, bias=False)
    nn.init.kaiming_normal_(made.weight)  # as torchvision's DenseNet
    return made
