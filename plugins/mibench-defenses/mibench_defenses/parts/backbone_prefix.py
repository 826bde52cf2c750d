"""Which weights lie before a point of a network, read from the graph of one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from mibench.api import Classifier, TrainContext, evaluating


def trace(classifier: Classifier, ctx: TrainContext) -> dict[str, Any]:
    """Run once and return by path the autograd node of each module's output, in the order in which modules end."""
    nodes: dict[str, Any] = {}
    hooks = []
    for path, module in classifier.body.named_modules():
        keep = lambda _, __, out, path=path: nodes.update({path: getattr(out, "grad_fn", None)})  # noqa: E731
        hooks.append(module.register_forward_hook(keep))
    with torch.enable_grad(), evaluating(classifier):
        classifier(torch.full((1, ctx.channels, ctx.size, ctx.size), 0.5, device=ctx.device))
    for hook in hooks:
        hook.remove()
    return {path: node for path, node in nodes.items() if node}


def weights_before(node: Any, seen: set[Any]) -> Iterator[nn.Parameter]:
    """Yield the weights on which an autograd node depends, except for those of nodes seen before."""
    waiting = [node]
    while waiting:
        if (node := waiting.pop()) is None or node in seen:
            continue
        seen.add(node)
        if isinstance(parameter := getattr(node, "variable", None), nn.Parameter):
            yield parameter
        waiting += [before for before, _ in node.next_functions]
