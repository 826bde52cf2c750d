"""Pretrained weights: found in packages, and put into a network whose head has another number of classes."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from mibench.api import DataError, read_state, unreadable

__all__ = ["load_pretrained", "packaged", "read_state", "unreadable"]

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
