"""A network of unknown structure, as the body of a classifier: what enters it, what comes out, where its head is.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mibench.api import UsageError, evaluating

END = "end"
_LEAST = 1e-30
"""Probabilities below it are taken for it, where their logarithm is needed."""


class SealedNetwork(nn.Module):
    """A network from a file, whose insides nobody may look at or put into another mode.

    Args:
        network: TorchScript or an exported program, in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Any:
        """Return whatever the network answers."""
        return self.network(x_BCHW)

    def train(self, mode: bool = True) -> SealedNetwork:
        """Note the mode and leave the network as it is: an exported one refuses to change."""
        self.training = mode
        return self


class ForeignBody(nn.Module):
    """Normalised images to logits (B, K), through a network that somebody else wrote.

    Args:
        net: the network.
        bgr: whether it takes blue first.
        probabilities: whether it answers with probabilities in the place of logits.
        order: which of its outputs is class k; ``None`` leaves them as they are.
    """

    order_K: Tensor | None

    def __init__(self, net: nn.Module, *, bgr: bool, probabilities: bool, order: Sequence[int] | None = None) -> None:
        super().__init__()
        self.net, self.end = net, nn.Identity()
        self.bgr, self.probabilities = bgr, probabilities
        self.register_buffer("order_K", None if order is None else torch.tensor(order), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits (B, K)."""
        answer = logits_of(self.net(x_BCHW.flip(1) if self.bgr else x_BCHW))
        if self.probabilities:
            answer = answer.clamp_min(_LEAST).log()
        if self.order_K is not None:
            answer = answer.index_select(1, self.order_K)
        logits_BK: Tensor = self.end(answer)
        return logits_BK


def logits_of(answer: Any) -> Tensor:
    """Return the tensor of an answer: itself, ``answer.logits``, ``answer["logits"]``, or the first of several.

    Raises:
        UsageError: if there is none of two dimensions.
    """
    found = answer
    if isinstance(answer, Mapping):
        found = answer.get("logits")
    elif isinstance(answer, tuple | list):
        found = answer[0] if answer else None
    elif hasattr(answer, "logits"):
        found = answer.logits
    if not isinstance(found, Tensor) or found.ndim != 2:
        got = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(answer).__name__}"
        raise UsageError(f"the network answers with {got}; expected logits (images, classes)")
    return found


@dataclass(frozen=True)
class Seen:
    """What one pass through a network showed.

    Attributes:
        classes: number of its outputs.
        head: path of the linear layer that makes them; empty if it is another one, or out of sight.
        ran: paths of the modules that ran and returned a tensor, in that order.
    """

    classes: int
    head: str
    ran: tuple[str, ...]


def look(net: nn.Module, channels: int, size: int) -> Seen:
    """Pass two grey images through a network, in evaluation mode, and see what happens.

    Raises:
        UsageError: if it takes no images of this shape, or does not answer with logits.
    """
    outputs: dict[str, Tensor] = {}
    sealed = isinstance(net, SealedNetwork)
    modules = [(path, module) for path, module in net.named_modules() if path and not sealed]
    hooks = [module.register_forward_hook(_noting(outputs, path)) for path, module in modules]
    try:
        with nullcontext() if sealed else evaluating(net), torch.no_grad():
            answer = logits_of(net(torch.full((2, channels, size, size), 0.1)))
    except UsageError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UsageError(
            f"the network takes no images of {channels} channels and {size} x {size} pixels in batches ({reason})."
            " State the side in pixels that it was trained at with --size, or --channels 1 if it takes grey images; and"
            " let an exported network take any number of images at once."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    linear = {path for path, module in modules if isinstance(module, nn.Linear)}
    head = [path for path, out in outputs.items() if path in linear and out is answer]
    return Seen(answer.shape[1], head[-1] if head else "", tuple(outputs))


def _noting(outputs: dict[str, Tensor], path: str) -> Any:
    def note(_: nn.Module, __: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            outputs[path] = out

    return note
