"""Networks that somebody else wrote, as mibench classifiers: trained by them, or with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from torch import nn

from mibench.api import Classifier, DataError, InputFile, Model
from mibench_models.foreign.assembling import as_classifier, load_weights
from mibench_models.foreign.body import SealedNetwork
from mibench_models.foreign.feed import Feed
from mibench_models.foreign.sources import TIMM_FIX, WHOLE, check_code, make_network, timm_normalisation, timm_side
from mibench_models.foreign.whole_files import load_whole
from mibench_models.weights import read_state, unreadable


@dataclass(frozen=True, kw_only=True)
class Foreign(Model):
    """A classifier that somebody else has trained, for :command:`mibench audit`.

    Attributes:
        network: ``torchvision:NAME``, ``timm:NAME``, ``MODULE:FUNCTION`` (called with ``num_classes`` if it takes
            that), or ``file`` where ``weights`` holds the network too.
        code: Python file of that module; ``none`` to import it.
        code_sha256: digest of the module's file where it is imported by name; empty checks nothing.
        weights: the trained weights: a state dict (.safetensors, or .pth read with ``weights_only=True``), or a whole
            network as TorchScript or from ``torch.export``.
        outputs: what the network answers with.
        order: which of its outputs is class k; empty if output k is.
        feed: what pictures it takes.
    """

    comes_trained: ClassVar[bool] = True

    network: str = WHOLE
    code: Annotated[str, InputFile("none")] = "none"
    code_sha256: str = ""
    weights: Annotated[str, InputFile("none")] = "none"
    outputs: Literal["logits", "probabilities"] = "logits"
    order: tuple[Annotated[int, Ge(0)], ...] = ()
    feed: Feed = field(default_factory=Feed)

    def missing(self) -> list[str]:
        """Return what is wrong with the files, and timm if it is wanted and not installed."""
        if self.weights == "none":
            return ["the weights of the trained network; name their file, or start with: mibench audit"]
        file = Path(self.weights).expanduser()
        if self.network != WHOLE or not file.is_file():
            return unreadable(self.weights) + _without_timm(self.network)
        return []

    def other_readings(self) -> Mapping[str, Model]:
        """Return the same network with the other usual ways to feed it; see :class:`mibench.api.Model`."""
        return {words: replace(self, feed=fed) for words, fed in self.feed.others().items()}

    def usual_side(self) -> int | None:
        """Return the side that the parameters state, else that of timm's configuration."""
        return self.feed.input_size or timm_side(self.network)

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make the network with its trained weights; see :class:`mibench.api.Model`.

        Raises:
            UsageError: if it has another number of classes, or takes no images of this size.
            DataError: if a file is missing, damaged or does not fit.
        """
        if self.network == WHOLE:
            net: nn.Module = SealedNetwork(load_whole(Path(self.weights).expanduser()))
        else:
            check_code(self.network.partition(":")[0], self.code, self.code_sha256)
            net = make_network(self.network, self.code, num_classes, self.feed.channels)
            load_weights(net, read_state(self.weights), num_classes)
        return as_classifier(net, self.network, self.feed, num_classes, size, outputs=self.outputs, order=self.order)


@dataclass(frozen=True, kw_only=True)
class ForeignFresh(Model):
    """The structure of such a network with fresh weights: its undefended twin, and what defenses train.

    Attributes:
        network: as in ``foreign``.
        code: as in ``foreign``.
        feed: as in ``foreign``.
    """

    network: str = "torchvision:resnet18"
    code: Annotated[str, InputFile("none")] = "none"
    feed: Feed = field(default_factory=Feed)

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make the untrained network; see :class:`mibench.api.Model`.

        Raises:
            UsageError: if it has another number of classes, or takes no images of this size.
        """
        net = make_network(self.network, self.code, num_classes, self.feed.channels)
        return as_classifier(net, self.network, self.feed, num_classes, size)

    def missing(self) -> list[str]:
        """Return timm if it is wanted and not installed."""
        return _without_timm(self.network)


def _without_timm(network: str) -> list[str]:
    if not network.startswith("timm:"):
        return []
    try:
        timm_normalisation(network)
    except DataError:
        return [f"the package timm, which has the network {network!r}; run: {TIMM_FIX}"]
    return []
