"""Foreign checkpoints of classifiers: the state dict inside, its names as torchvision has them, its architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from mibench.api import DataError, is_state

ARCHITECTURES = (
    *("inception_v3", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"),
    *("resnext101_32x8d", "wide_resnet50_2", "densenet121", "densenet161", "densenet169", "densenet201"),
    *("mobilenet_v2", "efficientnet_b0", "vgg16", "vgg16_bn", "vit_b_16", "swin_t", "convnext_tiny"),
)
"""Those that are recognised."""

_INSIDE = ("model_state_dict", "state_dict", "model", "net")
"""Where training scripts keep the network's weights, beside the optimiser's and the epoch."""
_WRAPPERS = ("model.", "module.", "net.", "body.")
_COMPILED = "_orig_mod."


@dataclass(frozen=True)
class Recognised:
    """A network that is one of torchvision's, but for the number of its outputs.

    Attributes:
        arch: torchvision's name.
        outputs: classes that it tells apart.
        state: its state dict in torchvision's naming.
    """

    arch: str
    outputs: int
    state: dict[str, Tensor]


def find_state(found: Any, file: str) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint, its names without those of wrappers.

    A checkpoint is a state dict itself, or holds one beside other things. What wraps a network (a class with a field
    ``model``, ``DataParallel``, ``torch.compile``) puts its name before all others.

    Args:
        found: what the file holds.
        file: its name, for errors.

    Raises:
        DataError: if there is no state dict.
    """
    state = found
    if not is_state(found):
        inside = [found[name] for name in _INSIDE if isinstance(found, Mapping) and is_state(found.get(name))]
        if not inside:
            held = (
                f"a mapping with {sorted(map(str, found))[:6]}" if isinstance(found, Mapping) else type(found).__name__
            )
            raise DataError(
                f"{file} holds no state dict: expected tensors by name, or them under {_INSIDE}; got {held}"
            )
        state = inside[0]
    names = {str(name).replace(_COMPILED, ""): value for name, value in state.items()}
    while wrapper := next((one for one in _WRAPPERS if names and all(name.startswith(one) for name in names)), None):
        names = {name.removeprefix(wrapper): value for name, value in names.items()}
    return names


def recognise(state: Mapping[str, Tensor], file: str) -> Recognised:
    """Tell which of torchvision's networks a state dict belongs to.

    Args:
        state: names and tensors.
        file: its name, for errors.

    Raises:
        DataError: if it is none of :data:`ARCHITECTURES`.
    """
    for arch in ARCHITECTURES:
        shapes, head = _design(arch)
        same = {name for name in shapes if not name.startswith(("AuxLogits.fc.", f"{head}."))}
        if set(shapes) == set(state) and all(state[name].shape == shapes[name] for name in same):
            weight = state[f"{head}.weight"]
            if weight.shape[1:] == shapes[f"{head}.weight"][1:] and len(weight) == len(state[f"{head}.bias"]):
                return Recognised(arch, len(weight), dict(state))
    raise DataError(
        f"{file} holds no network of torchvision that is recognised ({len(state)} tensors, such as"
        f" {sorted(state)[:2]}); expected one of {', '.join(ARCHITECTURES)}. A state dict of your own needs no import:"
        " --set model.weights=FILE"
    )


@lru_cache(maxsize=len(ARCHITECTURES))
def _design(arch: str) -> tuple[dict[str, torch.Size], str]:
    """Return the shapes of a network by name, and the path of its last linear layer."""
    options = {"aux_logits": True, "init_weights": False} if arch == "inception_v3" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(arch, weights=None, **options)
    head = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    return {name: tensor.shape for name, tensor in network.state_dict().items()}, head
