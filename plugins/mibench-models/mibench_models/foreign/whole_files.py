"""Files that hold a whole network: TorchScript, and ``torch.export``. Neither is unpickled.

TorchScript is read by torch's own reader, which knows tensors and its own instructions. ``torch.export.load`` would
unpickle some parts of its archive, so each of these is first read as tensors only, and the file refused otherwise.
"""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mibench.api import DataError

Format = Literal["torchscript", "export", "weights"]


def format_of(file: Path) -> Format:
    """Tell what a file holds: a whole network in one of two formats, or weights alone.

    Raises:
        OSError: if it cannot be read.
    """
    if not zipfile.is_zipfile(file):
        return "weights"
    with zipfile.ZipFile(file) as archive:
        inside = {name.partition("/")[2] for name in archive.namelist()}
    if "archive_format" in inside and any(name.startswith("models/") for name in inside):
        return "export"
    return "torchscript" if any(name.startswith("code/") for name in inside) else "weights"


def load_whole(file: Path) -> nn.Module:
    """Return the network of a file, on the CPU.

    Raises:
        DataError: if it is damaged, holds weights alone, or parts of it would have to be unpickled.
    """
    found = format_of(file)
    if found == "weights":
        raise DataError(
            f"{file} holds weights and no network. Say how the network is made: --model PACKAGE.MODULE:FUNCTION,"
            " torchvision:NAME or timm:NAME, with this file as --weights."
        )
    try:
        if found == "export":
            _check_export(file)
            exported: nn.Module = torch.export.load(file).module()
            return exported
        with warnings.catch_warnings():  # that others should write another format helps nobody who has this one
            warnings.simplefilter("ignore", FutureWarning)
            scripted: nn.Module = torch.jit.load(str(file), map_location="cpu").eval()
    except (RuntimeError, ValueError, KeyError, AssertionError, OSError) as error:
        raise DataError(f"{file} cannot be read as a network ({_first_line(error)}). Write it again.") from error
    return scripted


def _check_export(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for name in _pickled(archive):
            try:
                torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
                raise DataError(
                    f"{file}: its part {name} holds more than tensors, and reading it could run code. Export the"
                    " network without custom objects, or save its state_dict."
                ) from error


def _pickled(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what the reader of such an archive unpickles: parts that are marked so, and all files of older formats."""
    for name in archive.namelist():
        if name.endswith("_config.json"):
            stated: dict[str, Any] = json.loads(archive.read(name)).get("config", {})
            folder = name.rpartition("/")[0]
            for part in stated.values():
                if isinstance(part, dict) and part.get("use_pickle"):
                    yield f"{folder}/{part.get('path_name')}"
        elif name.endswith((".pt", ".pkl", ".pth")) and archive.getinfo(name).file_size:
            yield name


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
