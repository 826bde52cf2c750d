"""Where a network's structure comes from: torchvision, timm, or a function of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torchvision
from torch import nn

from mibench.api import DataError, UsageError, sha256_of_file, unknown

TIMM_FIX = 'pip install "mibench-models[timm]"'
WHOLE = "file"
"""The source of a network whose file holds structure and weights."""


def make_network(source: str, code: str, num_classes: int, channels: int) -> nn.Module:
    """Return an untrained network.

    Args:
        source: ``torchvision:NAME``, ``timm:NAME`` or ``MODULE:FUNCTION``.
        code: Python file of that module; ``none`` to import it.
        num_classes: K.
        channels: channels that it takes.

    Raises:
        UsageError: if there is no such network, or the function makes none.
        DataError: if the module is not there or cannot be imported.
    """
    kind, _, name = source.partition(":")
    if kind == "torchvision":
        if name not in (names := torchvision.models.list_models(module=torchvision.models)):
            raise unknown("torchvision architecture", name, names)
        options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in _WITH_AUX else {}
        network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
        return network
    if kind == "timm":
        made: nn.Module = _timm_model(name, num_classes=num_classes, in_chans=channels)
        return made
    return _call(find_function(source, code), source, num_classes)


_WITH_AUX = ("inception_v3", "googlenet")


def timm_normalisation(source: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and standard deviation of timm's configuration; ``None`` for other networks.

    Raises:
        DataError: if timm is not installed.
        UsageError: if it has no such network.
    """
    stated = _timm_config(source)
    return None if stated is None else (tuple(stated.mean), tuple(stated.std))


def timm_side(source: str) -> int | None:
    """Return the side in pixels of timm's configuration; ``None`` for other networks.

    Raises:
        DataError: if timm is not installed.
        UsageError: if it has no such network.
    """
    stated = _timm_config(source)
    return None if stated is None else int(stated.input_size[-1])


def find_function(source: str, code: str) -> Callable[..., Any]:
    """Return the function that makes a network.

    Raises:
        UsageError: if the source does not name one.
        DataError: if the module is not there or cannot be imported.
    """
    module_name, colon, name = source.partition(":")
    if not colon or not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(
            f"--model {source!r}: expected PACKAGE.MODULE:FUNCTION, FILE.py:FUNCTION, torchvision:NAME, timm:NAME, or"
            " the path of a TorchScript or torch.export file"
        )
    module = import_module(module_name, code)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        where = getattr(module, "__file__", None) or module_name
        raise unknown(f"function in {where}:", name, [word for word, it in vars(module).items() if callable(it)])
    return function


def import_module(name: str, code: str) -> ModuleType:
    """Import a module by name, as ``python -m`` finds it (also in the present folder), or from a file.

    Raises:
        DataError: if it is not there, or fails.
    """
    try:
        if code != "none":
            return _from_file(name, Path(code))
        here = str(Path.cwd())
        added = here not in sys.path
        if added:
            sys.path.append(here)  # behind all others: nothing that is installed is hidden
        try:
            return importlib.import_module(name)
        finally:
            if added:
                sys.path.remove(here)
    except Exception as error:
        raise DataError(
            f"the module {name!r} cannot be imported ({type(error).__name__}: {error}). Install it, start where it"
            " lies, or name its file: --model path/to/FILE.py:FUNCTION."
        ) from error


def check_code(name: str, code: str, sha256: str) -> None:
    """Raise ``DataError`` unless a module that is imported by name still has the bytes that it had."""
    if code != "none" or not sha256:
        return
    spec = importlib.util.find_spec(name)
    place = spec.origin if spec else None
    if place and Path(place).is_file() and (got := sha256_of_file(Path(place))) != sha256:
        raise DataError(
            f"{place} has changed since the audit began: it has sha256 {got[:12]}, expected {sha256[:12]}. Start a"
            " new audit."
        )


def _from_file(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _call(function: Callable[..., Any], source: str, num_classes: int) -> nn.Module:
    takes = inspect.signature(function).parameters
    options = {"num_classes": num_classes} if "num_classes" in takes else {}
    try:
        made = function(**options)
    except Exception as error:
        asked = f"{source}({', '.join(f'{key}={value}' for key, value in options.items())})"
        raise UsageError(
            f"{asked} failed ({type(error).__name__}: {error}). Name a function that makes the untrained network from"
            " num_classes, or from nothing."
        ) from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{source} returned a {type(made).__name__}; expected a torch.nn.Module")
    return made


def _timm_config(source: str) -> Any:
    kind, _, name = source.partition(":")
    return _timm().get_pretrained_cfg(_known(name)) if kind == "timm" else None


def _timm() -> Any:
    try:
        return importlib.import_module("timm.models")
    except ImportError as error:
        raise DataError(f"the package timm is not installed; run: {TIMM_FIX}") from error


def _known(name: str) -> str:
    names = _timm().list_models(name) or _timm().list_models(f"*{name[:6]}*")
    if not _timm().is_model(name):
        raise unknown("timm architecture", name, names[:40])
    return name


def _timm_model(name: str, **options: Any) -> Any:
    return importlib.import_module("timm").create_model(_known(name), pretrained=False, **options)
