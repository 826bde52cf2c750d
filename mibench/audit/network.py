"""From what a user says of a network to the parameters of the model that stands for it.

Those parameters are the same for every model that audits use: ``network``, ``code``, ``code_sha256``, ``weights``,
``outputs``, ``order`` and, in the group ``feed``, ``mean``, ``std``, ``channels`` and ``channel_order``. A model that
is trained afresh takes ``network``, ``code`` and ``feed`` alone.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import Any

from mibench.api.errors import UsageError
from mibench.api.files import sha256_of_file
from mibench.audit.request import AuditRequest

WHOLE = "file"
"""What stands for the structure of a network that a file holds whole."""
STRUCTURE = ("network", "code", "feed")
"""What a model of the same structure with fresh weights has in common with the trained one."""
_SOURCES = "PACKAGE.MODULE:FUNCTION, FILE.py:FUNCTION, torchvision:NAME or timm:NAME"


def network_params(request: AuditRequest) -> dict[str, Any]:
    """Return the parameters that differ from their defaults; paths are absolute.

    Raises:
        UsageError: if files are not there, or what is said does not say what the network is.
    """
    params = _source(request)
    feed = {name: getattr(request, name) for name in ("mean", "std", "channels", "channel_order")}
    defaults = {name: AuditRequest.model_fields[name].get_default() for name in feed}
    params["feed"] = {name: _plain(value) for name, value in feed.items() if value != defaults[name]}
    if request.outputs != "logits":
        params["outputs"] = request.outputs
    return {name: value for name, value in params.items() if value not in ({}, "")}


def _source(request: AuditRequest) -> dict[str, Any]:
    given = Path(request.model).expanduser()
    if given.is_file() and given.suffix != ".py":
        if request.weights is not None:
            raise UsageError(
                f"--model {request.model} is a file, which holds network and weights; leave --weights out, or say how"
                f" the network is made: {_SOURCES}"
            )
        return {"network": WHOLE, "weights": str(given.absolute())}
    place, colon, name = request.model.rpartition(":")
    if not colon or not place or not name:
        hint = " There is no such file." if given.suffix or given.name != request.model else ""
        raise UsageError(
            f"--model {request.model}:{hint} Expected {_SOURCES}, or the path of a TorchScript or torch.export file"
        )
    return {**_made_by(place, name), "weights": _weights(request)}


def _weights(request: AuditRequest) -> str:
    if request.weights is None:
        raise UsageError("--weights: name the file of the trained weights (.safetensors, or .pth with a state_dict)")
    file = request.weights.expanduser()
    if not file.is_file():
        raise UsageError(f"--weights {file} does not exist")
    return str(file.absolute())


def _made_by(place: str, name: str) -> dict[str, str]:
    file = Path(place).expanduser()
    if place.endswith(".py"):
        if not file.is_file():
            raise UsageError(f"--model {place}:{name}: the file {file} does not exist")
        return {"network": f"{file.stem}:{name}", "code": str(file.absolute())}
    return {"network": f"{place}:{name}", "code_sha256": _digest_of_module(place)}


def _digest_of_module(name: str) -> str:
    """Return the sha256 of a user's own module; empty for what is installed, whose version records state.

    Empty too if there is no such module, which the model itself explains.
    """
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return ""
    finally:
        if added:
            sys.path.remove(here)
    file = Path(spec.origin) if spec and spec.origin else None
    if file is None or not file.is_file() or any(file.is_relative_to(place) for place in _installed()):
        return ""
    return sha256_of_file(file)


def _installed() -> set[str]:
    return {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
