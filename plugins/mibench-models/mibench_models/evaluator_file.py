"""``mibench data import-evaluator``: a classifier that somebody else trained on the private data, to be a judge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from mibench.api import DataError, Imported, Importer, read_plain, sha256_of_file
from mibench_models.checkpoints import Recognised, find_state, recognise

WEIGHTS, CARD = "weights.safetensors", "README.md"

STATED = {"inception_v3_facescrub": 0.9653, "inception_v3_celeba": 0.9328}
"""Test accuracies of Plug & Play Attacks' Inception-v3, by the name of the released file."""
SLACK = 0.03
"""How far below its stated accuracy a judge may be on other images of the same people."""
UNSTATED = 0.9

TRANSFORMED = ((0.5328, 0.5982, 0.7089), (1.0917, 1.1161, 1.1111))
"""Mean and standard deviation that undo, together, what arrives in torchvision's Inception-v3 when it is made with
``pretrained=True`` and given images in [-1, 1]: it takes them for images normalised with 0.5 and normalises again, by
ImageNet's. mean = .5 - (m - .5) * .5 / s and std = .25 / s for ImageNet's m and s."""

_EXPECTED = (
    "Expected a checkpoint of a torchvision network, such as inception_v3_facescrub.pt of the release v1.0.0 of"
    " github.com/LukasStruppek/Plug-and-Play-Attacks"
)
_ACCURACY = re.compile(r"(?:^|_)(0?\.\d{2,6}|1\.0+)(?:_|$)")


@dataclass(frozen=True, kw_only=True)
class EvaluatorImporter(Importer):
    """Import a trained classifier of torchvision's design, as Plug & Play Attacks releases its evaluators.

    The file is read as tensors and plain values only. Its weights may lie beside those of an optimiser, under
    ``model_state_dict``, and be wrapped. How good it is shows when it is first used: a protocol names the least
    accuracy on its private test images, and the stage ``evaluator`` measures it.
    """

    def run(self, source: Path, folder: Path) -> Imported:
        """Write weights and card; see :class:`mibench.api.Importer`."""
        source = source.expanduser()
        if not source.is_file():
            raise DataError(f"{source} does not exist. {_EXPECTED}.")
        found = recognise(find_state(read_plain(str(source)), str(source)), str(source))
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / WEIGHTS
        save_file({name: tensor.clone().contiguous() for name, tensor in found.state.items()}, weights)
        written = sha256_of_file(weights)
        (folder / CARD).write_text(_card(found, source, written), encoding="utf-8")
        told = f"{found.arch}, {found.outputs} outputs"
        return Imported(folder, told, _use(found, weights.absolute(), written, stated_accuracy(source)))


def stated_accuracy(source: Path) -> float | None:
    """Return the test accuracy that is known of a file: by its name, or written in it (``Classifier_0.9653.pth``)."""
    known = STATED.get(source.stem.lower())
    written = _ACCURACY.search(source.stem)
    return known if known is not None or written is None else float(written[1])


def _use(found: Recognised, weights: Path, digest: str, stated: float | None) -> tuple[str, ...]:
    try:
        shown = f"~/{weights.relative_to(Path.home())}"
    except (RuntimeError, ValueError):  # no home, or not in it
        shown = str(weights)
    least = UNSTATED if stated is None else round(stated - SLACK, 2)
    params = f"arch: {found.arch}, weights: {shown}, weights_sha256: {digest}"
    lines = (
        f"in a protocol, among evaluators: {{name: {found.arch.replace('_', '-')}, model: {{name: torchvision, params:"
        f" {{{params}}}}}, recipe: {{epochs: 0, batch: 1}}, seed: 0, least_accuracy: {least:g}}}",
        "its outputs must stand in the order of the dataset's identities; the stage evaluator measures its accuracy on"
        " the private test images, and refuses it below least_accuracy",
    )
    if found.arch != "inception_v3":
        return lines
    mean, std = (", ".join(f"{number:g}" for number in numbers) for numbers in TRANSFORMED)
    return (
        *lines,
        "an Inception-v3 whose training began with torchvision's pretrained=True saw images normalised twice; if its"
        f" accuracy falls short, add to params: mean: [{mean}], std: [{std}]",
    )


def _card(found: Recognised, source: Path, written: str) -> str:
    stated = stated_accuracy(source)
    accuracy = "not known" if stated is None else f"{stated:.4f}"
    return f"""# {source.name}, imported

- {found.arch}, {found.outputs} outputs
- source: `{source.name}`, sha256 `{sha256_of_file(source)}`
- `{WEIGHTS}`: sha256 `{written}`; the same numbers, names as torchvision has them
- test accuracy by the file's name: {accuracy}; not measured by the import
- made by `mibench data import-evaluator`; read by the model `torchvision` as `weights`

Whoever trained it may have trained on images that a protocol holds out: gold and its own accuracy are then too high.
Licence: that of whoever trained it, and of the photographs that it was trained on; read both before you share this
folder.
"""
