"""The state of a training as a flat dictionary of tensors, which safetensors can hold."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer


def module_state(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Return copies of a module's parameters and buffers under ``prefix.``."""
    return {f"{prefix}.{name}": tensor.detach().clone() for name, tensor in module.state_dict().items()}


def load_module_state(module: nn.Module, prefix: str, state: Mapping[str, Tensor]) -> None:
    """Load what ``module_state`` returned.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    module.load_state_dict(_under(prefix, state))


def adam_state(optimizer: Optimizer, prefix: str) -> dict[str, Tensor]:
    """Return copies of an optimiser's moments under ``prefix.{index}.{name}``; none before its first step."""
    return {
        f"{prefix}.{index}.{name}": tensor.detach().clone()
        for index, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def load_adam_state(optimizer: Optimizer, prefix: str, state: Mapping[str, Tensor]) -> None:
    """Load what ``adam_state`` returned."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _under(prefix, state).items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = tensor.clone()
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): tensor for key, tensor in state.items() if key.startswith(f"{prefix}.")}
