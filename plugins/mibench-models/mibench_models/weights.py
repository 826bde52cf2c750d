"""Reading pretrained weights as data, and putting them into a network whose head has another number of classes."""

from __future__ import annotations

import importlib.util
import pickle
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mibench.api import DataError, sha256_of_file

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def packaged(package: str, file: str) -> Path | None:
    """Find a file inside an installed package, without importing the package; ``None`` if it is not there.

    Args:
        package: name by which it would be imported, without dots.
        file: path relative to the package's folder.
    """
    spec = importlib.util.find_spec(package)
    candidates = (Path(folder) / file for folder in (spec.submodule_search_locations or [] if spec else []))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_state(path: str, *, sha256: str = "") -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from ``.pth``/``.pt`` with ``weights_only=True``.

    Args:
        path: the file; ``~`` is expanded.
        sha256: hexadecimal digest that the file must have; empty checks nothing.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        DataError: if the file is missing, has another digest, is damaged or holds anything but tensors.
    """
    file = _ordinary(path)
    if file is None:
        raise DataError(
            f"weights file {path!r} does not exist. Give the path of a state dict, or"
            " weights=none; for a file that torchvision publishes: mibench data import-torchvision FILE.pth"
        )
    try:
        if sha256 and (got := sha256_of_file(file)) != sha256:
            raise DataError(f"weights file {path!r} has sha256 {got}, expected {sha256}. Fetch the right file again.")
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"weights file {path!r} cannot be read: {error.strerror or error}.") from error
    except (pickle.UnpicklingError, safetensors.SafetensorError, RuntimeError, EOFError) as error:
        raise DataError(
            f"weights file {path!r} cannot be read as tensors only ({error}). Expected a plain state dict in"
            " .safetensors, or in .pth as torch.save(network.state_dict(), path) writes it."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(
            f"weights file {path!r} holds more than a state dict. Expected names and tensors, as torch.save("
            "network.state_dict(), path) writes them; save the state dict alone."
        )
    return dict(state)


def unreadable(path: str, *, sha256: str = "") -> list[str]:
    """Return why :func:`read_state` would refuse a file; empty if it would not.

    A file is read once, however many networks of a plan start from it.
    """
    file = _ordinary(path)
    if file is None:
        return list(_unreadable.__wrapped__(path, sha256, 0, 0))
    stat = file.stat()
    return list(_unreadable(path, sha256, stat.st_mtime_ns, stat.st_size))


def _ordinary(path: str) -> Path | None:
    try:
        file = Path(path).expanduser()
        return file if file.is_file() else None
    except (RuntimeError, ValueError):  # somebody's home that is not known, a zero byte
        return None


@lru_cache(maxsize=64)
def _unreadable(path: str, sha256: str, changed: int, size: int) -> tuple[str, ...]:
    try:
        read_state(path, sha256=sha256)
    except DataError as error:
        return (str(error),)
    return ()


def load_pretrained(body: nn.Module, state: Mapping[str, Tensor], *, heads: Sequence[str]) -> list[str]:
    """Load weights; heads whose shape differs keep their initialisation, everything else must fit.

    Args:
        body: the network, changed in place.
        state: names and tensors in the network's own naming (old DenseNet names are understood).
        heads: paths of the linear layers that may have another number of classes, or be missing from ``state``.

    Returns:
        The heads that were not loaded.

    Raises:
        DataError: if other names are missing or left over, or shapes differ.
    """
    own = body.state_dict()
    wanted = {_OLD_DENSENET.sub(r"\1\2.", name): value for name, value in state.items()}
    skipped = [head for head in heads if not _fits(head, own, wanted)]
    head_keys = {key for key in {*own, *wanted} if key.rpartition(".")[0] in skipped}
    wanted = {name: value for name, value in wanted.items() if name not in head_keys}
    different = [name for name, value in wanted.items() if name in own and own[name].shape != value.shape]
    if different:
        name = different[0]
        raise DataError(
            f"pretrained weights do not fit: {name} has shape {tuple(wanted[name].shape)}, the network has"
            f" {tuple(own[name].shape)} ({len(different)} such). Use weights of this arch (and input_size)."
        )
    result = body.load_state_dict(wanted, strict=False)
    missing = [name for name in result.missing_keys if name not in head_keys]
    if missing or result.unexpected_keys:
        raise DataError(
            f"pretrained weights do not fit: {len(missing)} names missing (e.g. {missing[:2]}),"
            f" {len(result.unexpected_keys)} unknown (e.g. {result.unexpected_keys[:2]}). Use weights of this arch."
        )
    return skipped


def _fits(head: str, own: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    names = [name for name in own if name.rpartition(".")[0] == head]
    return all(name in wanted and wanted[name].shape == own[name].shape for name in names)
