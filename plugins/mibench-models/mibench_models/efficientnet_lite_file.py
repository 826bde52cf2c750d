"""Names of EfficientNet-PyTorch, in which EfficientNet-Lite0 is published, to those of the network of this package."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

_BLOCK = re.compile(r"_blocks\.(\d+)\.(_\w+)\.(\w+)")
_LAYERS = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
"""Layers of a block in order: convolution and normalisation of each of its three steps."""


def renamed(state: Mapping[str, Tensor], blocks: Sequence[int]) -> dict[str, Tensor]:
    """Return a state dict with the names of ``efficientnet_lite``; names that are not known stay as they are.

    Args:
        state: names and tensors as EfficientNet-PyTorch has them: blocks are numbered throughout.
        blocks: number of blocks of each stage.
    """
    last = len(blocks) + 1
    ends = {
        "_conv_stem": "features.0.0",
        "_bn0": "features.0.1",
        "_conv_head": f"features.{last}.0",
        "_bn1": f"features.{last}.1",
        "_fc": "classifier",
    }
    places = [f"features.{stage}.{index}" for stage, count in enumerate(blocks, 1) for index in range(count)]
    wide = {match[1] for name in state if (match := _BLOCK.fullmatch(name)) and match[2] == "_expand_conv"}
    return {_name(name, ends, places, wide): value for name, value in state.items()}


def _name(name: str, ends: Mapping[str, str], places: Sequence[str], wide: set[str]) -> str:
    match = _BLOCK.fullmatch(name)
    if match is None:
        layer, _, tensor = name.partition(".")
        return f"{ends[layer]}.{tensor}" if layer in ends else name
    block, layer, tensor = match.groups()
    if layer not in _LAYERS or int(block) >= len(places):
        return name
    step, part = divmod(_LAYERS.index(layer), 2)
    return f"{places[int(block)]}.block.{step - (block not in wide)}.{part}.{tensor}"
