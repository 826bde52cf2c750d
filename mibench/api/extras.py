"""What a defense keeps beside the network, as it goes into checkpoints and into the target's artifact."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn


def pack_extras(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state for a checkpoint: tensors as they are, everything else by its ``state_dict``."""
    return {name: e.detach() if isinstance(e, Tensor) else e.state_dict() for name, e in extras.items()}


def unpack_extras(extras: MutableMapping[str, Any], state: Mapping[str, Any]) -> None:
    """Put a checkpoint's state back, in place."""
    for name, saved in state.items():
        held = extras.get(name)
        if isinstance(held, Tensor):
            with torch.no_grad():
                held.copy_(saved)
        elif held is None:
            extras[name] = saved
        else:
            held.load_state_dict(saved)


def flat_extras(extras: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what an artifact keeps: tensors, and the weights of modules as ``name.parameter``."""
    flat = {name: value for name, value in extras.items() if isinstance(value, Tensor)}
    for name, value in extras.items():
        if isinstance(value, nn.Module):
            flat |= {f"{name}.{key}": tensor for key, tensor in value.state_dict().items()}
    return flat
