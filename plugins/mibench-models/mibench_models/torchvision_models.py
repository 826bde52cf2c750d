"""Any torchvision classification network as a mibench classifier, through one adapter.

Shapes: B images of a batch, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torchvision
from annotated_types import Ge
from torch import Tensor, nn

from mibench.api import Classifier, DataError, InputFile, Model, OmitIfDefault, UsageError, unknown
from mibench_models.torchvision_stages import stage_names
from mibench_models.weights import load_pretrained, read_state, unreadable

NATIVE_SIZE = {"inception_v3": 299, "vit_": 224, "maxvit_": 224}
"""Side in pixels that an architecture (or family, by prefix) insists on; all others take the protocol's size."""
_SMALLEST = {"inception_v3": 75}
_AUX_FROM = 299
_AUX_HEAD = ("AuxLogits.fc",)
"""Inception's; other networks have no layer of that name."""

Channels3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class TorchvisionModel(Model):
    """A torchvision architecture with its last linear layer replaced by a fresh one for K classes.

    Grey images are repeated to three channels. In-place activations are switched off, so that no stage is overwritten
    after it was taken. Inception's auxiliary head is kept where it fits, from 299 px: in training mode its logits are
    in ``Outputs.aux``. Below 299 px the network is built without it.

    Attributes:
        arch: a name of ``torchvision.models.list_models(module=torchvision.models)``.
        weights: ``none``, or the path of a state dict (.pth, .pt or .safetensors) in torchvision's naming, e.g. of
            ImageNet. The heads may have another number of classes; all else must fit.
        weights_sha256: digest that the file must have; empty checks nothing. Set it wherever results are published.
        mean: per-channel mean that is subtracted, [0, 1] units.
        std: per-channel standard deviation that is divided by.
        input_size: side in pixels to which images are resized; ``None`` is the protocol's size, except 299 for
            Inception-v3 and 224 for ViT and MaxViT.
        aux_weight: loss weight of Inception's auxiliary head (0.4 in torchvision's recipe, 1.0 in PPA and AT-AT).
        channels_last: keep the channels of a position together in memory. The same numbers up to rounding; networks of
            depthwise convolutions (MobileNet, EfficientNet) take two thirds of the time on CPUs.
    """

    arch: str = "resnet18"
    weights: Annotated[str, InputFile("none")] = "none"
    weights_sha256: str = ""
    mean: Channels3 = (0.5, 0.5, 0.5)
    std: Channels3 = (0.5, 0.5, 0.5)
    input_size: Annotated[int | None, Ge(1)] = None
    aux_weight: Annotated[float, Ge(0)] = 0.4
    channels_last: Annotated[bool, OmitIfDefault()] = False

    def __post_init__(self) -> None:
        names = torchvision.models.list_models(module=torchvision.models)
        if self.arch not in names:
            raise unknown("torchvision architecture", self.arch, names)

    def missing(self) -> list[str]:
        """Return what is wrong with the weights file, if ``weights`` names one."""
        return [] if self.weights == "none" else unreadable(self.weights, sha256=self.weights_sha256)

    def build(self, *, num_classes: int, channels: int, size: int) -> Classifier:
        """Make the network, with weights if ``weights`` names a file.

        Args:
            num_classes: K.
            channels: channels of the images, 1 or 3.
            size: side of the protocol's images in pixels.

        Raises:
            UsageError: if the network has no linear head or cannot take images of the wanted size.
            DataError: if the weights file is missing, damaged or of another architecture.
        """
        body, head, side = self._skeleton(num_classes, size)
        if self.weights != "none":
            self._load(body, self._state(), [head, *_AUX_HEAD])
        return self._wrapped(body, head, side)

    def build_trained(self, *, identities: Sequence[int], channels: int, size: int) -> Classifier:
        """Make a network that ``weights`` holds ready-made, its last layer included.

        Args:
            identities: which output of the file's network class k is: its outputs stand in the dataset's order.
            channels: channels of the images, 1 or 3.
            size: side of the protocol's images in pixels.

        Raises:
            UsageError: if ``weights`` names no file, or its network knows fewer identities.
            DataError: if the weights file is missing, damaged or of another architecture.
        """
        if self.weights == "none":
            raise UsageError(f"{self.arch}: an evaluator that is not trained (recipe.epochs 0) needs a file as weights")
        body, head, side = self._skeleton(len(identities), size)
        state = self._state()
        for name in (f"{head}.weight", f"{head}.bias"):
            if name not in state:
                raise DataError(f"weights file {self.weights!r} has no {name!r}; it holds no trained {self.arch}.")
            if max(identities) >= len(state[name]):
                raise UsageError(
                    f"the network of {self.weights!r} tells {len(state[name])} people apart; the protocol's private"
                    f" people have numbers up to {max(identities)} in the dataset. Use an evaluator of this dataset."
                )
            state[name] = state[name][list(identities)]
        self._load(body, state, _AUX_HEAD)
        return self._wrapped(body, head, side)

    def _skeleton(self, num_classes: int, size: int) -> tuple[nn.Module, str, int | None]:
        """Return the network, the path of its head, and the side that it wants."""
        side = self.input_size or _prefixed(NATIVE_SIZE, self.arch)
        body = _network(self.arch, num_classes, side)
        _check_side(self.arch, side or size)
        head = _renew_head(self.arch, body, num_classes)
        keep_activations(body)
        return body, head, side

    def _wrapped(self, body: nn.Module, head: str, side: int | None) -> Classifier:
        if self.channels_last:
            body.to(memory_format=torch.channels_last)
        return Classifier(
            body,
            head=head,
            stage_names=stage_names(self.arch, body, head),
            mean=self.mean,
            std=self.std,
            input_size=side,
            aux_weight=self.aux_weight,
        )

    def _state(self) -> dict[str, Tensor]:
        return read_state(self.weights, sha256=self.weights_sha256)

    def _load(self, body: nn.Module, state: dict[str, Tensor], heads: Sequence[str]) -> None:
        if self.arch == "inception_v3" and not any(path == "AuxLogits" for path, _ in body.named_children()):
            state = {name: value for name, value in state.items() if not name.startswith("AuxLogits.")}
        load_pretrained(body, state, heads=heads)


def _network(arch: str, num_classes: int, side: int | None) -> nn.Module:
    special: dict[str, dict[str, Any]] = {
        "inception_v3": {"aux_logits": (side or 0) >= _AUX_FROM, "transform_input": False, "init_weights": True},
        "googlenet": {"aux_logits": False, "transform_input": False, "init_weights": True},
        "vit_": {"image_size": side},
        "maxvit_": {"input_size": (side, side)},
    }
    options = _prefixed(special, arch) or {}
    try:
        network: nn.Module = torchvision.models.get_model(arch, weights=None, num_classes=num_classes, **options)
    except (ValueError, AssertionError) as error:
        raise UsageError(f"{arch} cannot be built for input_size={side}: {error}") from error
    return network


def _check_side(arch: str, side: int) -> None:
    smallest = _SMALLEST.get(arch, 1)
    if side < smallest:
        raise UsageError(f"{arch} needs images of at least {smallest} px, got {side}. Use --set model.input_size=299.")


def _renew_head(arch: str, body: nn.Module, num_classes: int) -> str:
    linear = [(path, module) for path, module in body.named_modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1][1].out_features != num_classes:
        raise UsageError(f"{arch} does not end in a linear layer, which mibench needs as its head. Use another arch.")
    path: str
    path, old = linear[-1]
    # Some networks (ViT) start their head at zero, through which no gradient reaches an image.
    parent, _, name = path.rpartition(".")
    setattr(body.get_submodule(parent), name, nn.Linear(old.in_features, num_classes, bias=old.bias is not None))
    return path


def keep_activations(body: nn.Module) -> None:
    """Switch in-place activations off, so that no stage is overwritten after it was taken."""
    for module in body.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]


def _prefixed(table: dict[str, Any], arch: str) -> Any:
    return next((value for prefix, value in table.items() if arch.startswith(prefix)), None)
