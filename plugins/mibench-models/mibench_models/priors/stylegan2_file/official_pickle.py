"""Reading NVIDIA's network pickles (stylegan2-ada-pytorch, stylegan3) as data: nothing in the file is executed.

Such a file is a pickle of ``{"G", "D", "G_ema", "training_set_kwargs", ...}`` whose networks were stored by NVIDIA's
``torch_utils.persistence``: class name, source text and attributes. Here a network becomes a record of its attributes;
its source text is thrown away unread. Every global that the file names is looked up in a short table of harmless
stand-ins, and any other one refuses the file.

Source of the format: Karras et al., "Training GANs with Limited Data" (NeurIPS 2020), as its released code writes it.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mibench.api import DataError

LARGEST_FILE = 8 * 2**30
"""Bytes; official files have up to 0.4 GB."""

DEEPEST_MODULE = 20
_ZIP = b"PK\x03\x04"
_HELP = "Expected a network pickle of stylegan2-ada-pytorch, such as ffhq.pkl; fetch the file again."


class _Sealed:
    """What a file may hold but not change: pickles can set attributes of any object that allows it."""

    def __setstate__(self, state: Any) -> None:
        raise DataError(f"refused, because it changes what it may only hold. {_HELP}")


@dataclass(frozen=True)
class NetworkRecord(_Sealed):
    """A stored network or layer: its class by name, and its attributes as plain values.

    Attributes:
        class_name: name of the class that stored it, e.g. ``"Generator"``.
        attributes: what the object held, parameters, buffers and submodules apart.
        tensors: its own parameters and buffers by name.
        children: its submodules by name.
    """

    class_name: str
    attributes: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    children: Mapping[str, NetworkRecord]

    @property
    def init_kwargs(self) -> Mapping[str, Any]:
        """Return the keyword arguments that the object was made with."""
        found: Mapping[str, Any] = self.attributes.get("_init_kwargs") or {}
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by dotted name."""
        return {f"{path}.{name}".lstrip("."): value for path, own in self.walk() for name, value in own.tensors.items()}

    def walk(self, path: str = "") -> Iterator[tuple[str, NetworkRecord]]:
        """Yield this record and all records below it with their dotted paths.

        Raises:
            DataError: if records are nested deeper than a network is.
        """
        if path.count(".") > DEEPEST_MODULE:
            raise DataError(f"the network is nested deeper than {DEEPEST_MODULE} levels at {path[:60]!r}. {_HELP}")
        yield path, self
        for name, child in self.children.items():
            yield from child.walk(f"{path}.{name}" if path else name)


def read_pickle(file: Path) -> dict[str, Any]:
    """Read a network pickle.

    Args:
        file: its path.

    Returns:
        The file's dictionary: networks as :class:`NetworkRecord`, everything else as plain values.

    Raises:
        DataError: if the file is missing, truncated, of another kind, or names a global that has no business there.
    """
    if not file.is_file():
        raise DataError(f"{file} does not exist. Give the path of a network pickle, such as ffhq.pkl.")
    if file.stat().st_size > LARGEST_FILE:
        raise DataError(f"{file} has {file.stat().st_size / 2**30:.1f} GB, more than any network pickle. {_HELP}")
    try:
        with file.open("rb") as stream:
            if stream.read(len(_ZIP)) == _ZIP:
                raise DataError(f"it is a zip archive, as torch.save writes and data sets are packed. {_HELP}")
            stream.seek(0)
            found = _Unpickler(stream).load()
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except MemoryError as error:
        raise DataError(f"{file} asks for more memory than there is; it is damaged. {_HELP}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{file} cannot be read as a pickle ({type(error).__name__}: {error}). {_HELP}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file} holds a {type(found).__name__}, not a dictionary of networks. {_HELP}")
    return found


class _Unpickler(pickle.Unpickler):
    """Finds the stand-ins below instead of what the file names."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a stand-in, or refuse."""
        if (module, name) not in _KNOWN:
            hint = ""
            if module.startswith("dnnlib.tflib"):
                hint = " It is a TensorFlow network; convert it with NVIDIA's legacy.py first."
            raise DataError(f"refused, because it names the global {module}.{name}, which is not data.{hint} {_HELP}")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: whole networks need nothing from elsewhere."""
        raise DataError(f"refused, because it refers to objects outside of the file. {_HELP}")


@dataclass(frozen=True)
class _Held(_Sealed):
    """A tensor on its way into a record."""

    tensor: Tensor


@dataclass(frozen=True)
class _Call(_Sealed):
    """A function that a file may call."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _record(meta: Any) -> NetworkRecord:
    """Stand in for the function that would run the stored source text."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise DataError(f"a stored network has an unknown layout. {_HELP}")
    state = dict(meta["state"])
    own = {**(state.pop("_parameters", None) or {}), **(state.pop("_buffers", None) or {})}
    tensors = {str(name): value for name, value in own.items() if value is not None}
    children = {str(name): value for name, value in (state.pop("_modules", None) or {}).items() if value is not None}
    if not all(isinstance(value, _Held) for value in tensors.values()):
        raise DataError(f"a parameter of {meta.get('class_name')!r} is not a tensor. {_HELP}")
    if not all(isinstance(value, NetworkRecord) for value in children.values()):
        raise DataError(f"a layer of {meta.get('class_name')!r} is not a stored network. {_HELP}")
    held = {name: value.tensor for name, value in tensors.items()}
    return NetworkRecord(str(meta.get("class_name")), state, held, children)


def _storage(content: Any) -> _Held:
    """Read the numbers of a tensor with torch's restricted reader, as a flat tensor."""
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # see read_pickle
        raise DataError(f"the numbers of a tensor cannot be read ({type(error).__name__}). {_HELP}") from error
    if not isinstance(loaded, torch.storage.TypedStorage):
        raise DataError(f"expected the numbers of a tensor, got a {type(loaded).__name__}. {_HELP}")
    return _Held(torch.empty(0, dtype=loaded.dtype).set_(loaded))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_unused: Any) -> _Held:
    """Cut a tensor out of its storage, which must be large enough for it."""
    if not isinstance(storage, _Held):
        raise DataError(f"a tensor has no numbers. {_HELP}")
    numbers = storage.tensor.flatten()
    counts = (*size, *stride, offset)
    if len(size) != len(stride) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise DataError(f"a tensor has the impossible shape {size!r} with strides {stride!r}. {_HELP}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    total = math.prod(size)
    if total > numbers.numel() or (total and last >= numbers.numel()):
        raise DataError(f"a tensor of shape {tuple(size)} does not fit into its {numbers.numel()} numbers. {_HELP}")
    return _Held(numbers.as_strided(tuple(size), tuple(stride), offset if total else 0).clone())


def _parameter(data: Any, *_unused: Any) -> Any:
    return data


class _DataType:
    """A numpy type; only its code and byte order matter."""

    def __init__(self, code: str, *_unused: Any) -> None:
        self.code = str(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in {"<", "|", "="}:
            raise DataError(f"a number has the byte order {state[1]!r}. {_HELP}")


def _scalar(kind: Any, content: Any) -> float | int | bool:
    number = np.dtype(kind.code)
    if number.kind not in "fiub" or len(content) != number.itemsize:
        raise DataError(f"a number has the unknown type {kind.code!r}. {_HELP}")
    value: float | int | bool = np.frombuffer(content, number)[0].item()
    return value


def _encode(text: str, encoding: str) -> bytes:
    """Old protocols write bytes as text in latin-1."""
    if encoding != "latin1":
        raise DataError(f"bytes are written in the encoding {encoding!r}. {_HELP}")
    return text.encode(encoding)


_KNOWN: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_record),
    ("dnnlib.util", "EasyDict"): dict,
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,  # protocol 2
    ("torch.storage", "_load_from_bytes"): _Call(_storage),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    ("numpy", "dtype"): _DataType,
    ("numpy.core.multiarray", "scalar"): _Call(_scalar),
    ("numpy._core.multiarray", "scalar"): _Call(_scalar),
    ("_codecs", "encode"): _Call(_encode),
}
"""Everything that a file may name, and what it gets."""
