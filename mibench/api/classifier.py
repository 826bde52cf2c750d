"""The classifier contract: one adapter around any network that ends in a linear layer.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from mibench.api.errors import UsageError
from mibench.api.images import resize


@dataclass
class Outputs:
    """What one forward pass yields.

    Attributes:
        logits: (B, K).
        features: (B, D), the input of the head.
        stages: named intermediate activations, after their non-linearity; empty unless asked for.
        aux: logits of auxiliary heads with their usual loss weight (Inception in training mode).
        extra: whatever a defense's own head adds (for example the divergence of a variational head).
    """

    logits: Tensor
    features: Tensor
    stages: dict[str, Tensor] = field(default_factory=dict)
    aux: list[tuple[Tensor, float]] = field(default_factory=list)
    extra: dict[str, Tensor] = field(default_factory=dict)


class Classifier(nn.Module):
    """Images in [0, 1] to logits; owns resizing and normalisation.

    Args:
        body: a network that maps (B, C, H, W) to logits (or to logits with attributes ``logits`` and ``aux_logits``).
        head: path of its last linear layer, e.g. ``"fc"`` or ``"classifier.1"``.
        stage_names: paths of the modules whose outputs are the named stages, from input to output.
        mean: per-channel mean subtracted after resizing, in [0, 1] units.
        std: per-channel standard deviation divided by.
        input_size: side that the network wants; ``None`` accepts any.
        channels: channels that the network wants; grey images are repeated to 3.
        aux_weight: loss weight of auxiliary heads.
        num_classes: K, of a network whose head is no linear layer; ``features`` are then what enters that head.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        head: str,
        stage_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int | None = None,
        channels: int = 3,
        aux_weight: float = 0.4,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.head_path = head
        self.stage_names = list(stage_names)
        self.input_size = input_size
        self.channels = channels
        self.aux_weight = aux_weight
        self._num_classes = num_classes
        self.register_buffer("mean_C11", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std_C11", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @property
    def head(self) -> nn.Module:
        """The module that maps features to logits."""
        return self.body.get_submodule(self.head_path)

    @property
    def num_classes(self) -> int:
        """Number of classes K: what was stated, else read from the last linear layer of the head."""
        if self._num_classes is not None:
            return self._num_classes
        linear = [module for module in self.head.modules() if isinstance(module, nn.Linear)]
        return linear[-1].out_features

    @property
    def feature_dim(self) -> int:
        """Number of features D that enter the head; without a linear layer there, the features are the logits."""
        if self._num_classes is not None:
            return self._num_classes
        linear = [module for module in self.head.modules() if isinstance(module, nn.Linear)]
        return linear[0].in_features

    def replace_head(self, module: nn.Module) -> None:
        """Put another module in the place of the head; it must map (B, D) to (B, K)."""
        parent, _, name = self.head_path.rpartition(".")
        setattr(self.body.get_submodule(parent), name, module)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits (B, K) of images in [0, 1]."""
        return self.outputs(x_BCHW).logits

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Return the features (B, D) that enter the head."""
        return self.outputs(x_BCHW).features

    def stages(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        """Return the named intermediate activations."""
        return self.outputs(x_BCHW, stages=True).stages

    def outputs(self, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        """Run once and return logits, features and, if asked for, the named stages."""
        seen: dict[str, Tensor] = {}
        hooks = [self.head.register_forward_pre_hook(lambda _, inputs: seen.__setitem__("", inputs[0]))]
        for name in self.stage_names if stages else []:
            keep = lambda _, __, out, name=name: seen.__setitem__(name, out)  # noqa: E731
            hooks.append(self.body.get_submodule(name).register_forward_hook(keep))
        try:
            raw = self.body(self._prepare(x_BCHW))
        finally:
            for hook in hooks:
                hook.remove()
        features = seen.pop("")
        logits, aux = _split_aux(raw, self.aux_weight)
        return Outputs(logits, features, seen, aux, dict(getattr(self.head, "extra", {})))

    def _prepare(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = resize(x_BCHW, self.input_size) if self.input_size else x_BCHW
        if x_BCHW.shape[1] != self.channels:
            if x_BCHW.shape[1] != 1:
                raise ValueError(f"the network takes {self.channels} channels, got images with {x_BCHW.shape[1]}")
            x_BCHW = x_BCHW.expand(-1, self.channels, -1, -1)
        return (x_BCHW - self.mean_C11) / self.std_C11


def _split_aux(raw: Any, weight: float) -> tuple[Tensor, list[tuple[Tensor, float]]]:
    if isinstance(raw, Tensor):
        return raw, []
    aux = [raw.aux_logits] if getattr(raw, "aux_logits", None) is not None else []
    return raw.logits, [(logits, weight) for logits in aux]


M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Put a module into evaluation mode, switch off the gradients of its parameters, and return it."""
    module.eval()
    module.requires_grad_(False)
    return module


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put networks into evaluation mode inside a block, and every module back into its own mode after it."""
    before = [(module, module.training) for network in modules for module in network.modules()]
    for network in modules:
        network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def load_backbone(classifier: Classifier, state: Mapping[str, Tensor]) -> None:
    """Put another network's weights and statistics into a classifier, all but those of its heads.

    Args:
        classifier: the network, changed in place.
        state: state dict of a classifier of the same architecture; it may have another number of classes.

    Raises:
        UsageError: if a tensor is missing or has another shape and is not part of a head.
    """
    own = classifier.state_dict()
    head = f"body.{classifier.head_path}."
    fitting = {n: v for n, v in state.items() if n in own and own[n].shape == v.shape and not n.startswith(head)}
    auxiliary = [name for name in own if "aux" in name.lower()]
    lacking = [name for name in own if name not in fitting and name not in auxiliary and not name.startswith(head)]
    if lacking:
        raise UsageError(f"the pre-trained network does not fit: {len(lacking)} tensors differ, first {lacking[0]!r}")
    classifier.load_state_dict(fitting, strict=False)


class Model(ABC):
    """A classifier architecture: a frozen dataclass of parameters that builds networks.

    Attributes:
        presets: named parameter sets.
        comes_trained: whether ``build`` returns a network that somebody else has trained on the private classes.
            Nothing trains it any more, and only plain training goes with it; no leaderboard takes its results.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    comes_trained: ClassVar[bool] = False

    def other_readings(self) -> Mapping[str, Model]:
        """Return how else a trained network could be meant, for a check of its accuracy that fails.

        Returns:
            The same network fed otherwise (with another normalisation, say), by what one would have to state for it.
        """
        return {}

    def usual_side(self) -> int | None:
        """Return the side in pixels of the images that a trained network takes; ``None`` if nothing states it."""
        return None

    def missing(self) -> list[str]:
        """Return what has to be there before ``build`` can work and is not, one line each; empty if nothing."""
        return []

    @abstractmethod
    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make an untrained (or publicly pre-trained) classifier. Called with torch's global generator seeded.

        Args:
            num_classes: K.
            channels: channels of the protocol's images.
            size: side of the protocol's images in pixels.
        """

    def build_trained(self, *, identities: Sequence[int], channels: int, size: int) -> Classifier:
        """Make a classifier that somebody else trained on these people, for evaluators without epochs of their own.

        Args:
            identities: number in the dataset of each class, which is the class k of what is made.
            channels: channels of the protocol's images.
            size: side of the protocol's images in pixels.

        Raises:
            UsageError: if there is none; so it is by default.
        """
        raise UsageError(f"{type(self).__name__} comes untrained; give the evaluator's recipe epochs, to train it")


class Embedder(ABC):
    """A fixed network that maps faces to identity embeddings and never saw the private data."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @abstractmethod
    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Return L2-normalised embeddings (N, D) of images in [0, 1]; compare them by cosine."""

    def missing(self) -> list[str]:
        """Return what has to be obtained before ``embed`` can work, one line each; empty if nothing."""
        return []
