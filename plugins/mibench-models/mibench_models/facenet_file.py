"""``mibench data import-facenet``: the weights of the embedder ``facenet``, checked and put in their place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from mibench.api import DataError, Imported, Importer, sha256_of_file
from mibench_models.facenet import FILE, HOW_TO_GET, SHA256, read_network

CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class FaceNetImporter(Importer):
    """Copy weights of facenet-pytorch's Inception-ResNet-v1 after looking at them.

    They are read as tensors only. The file stays as it is, so that it can be checked against the digest that many
    projects state.
    """

    def run(self, source: Path, folder: Path) -> Imported:
        """Write weights and card; see :class:`mibench.api.Importer`."""
        source = source.expanduser()
        if not source.is_file():
            raise DataError(f"{source} does not exist. {HOW_TO_GET}")
        read_network(str(source))
        digest = sha256_of_file(source)
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / source.name
        if not weights.exists() or not weights.samefile(source):
            shutil.copyfile(source, weights)
        (folder / CARD).write_text(_card(source.name, digest), encoding="utf-8")
        known = digest == SHA256
        told = "the VGGFace2 weights that are in circulation" if known else f"other weights than {FILE}"
        return Imported(folder, f"Inception-ResNet-v1, {told} (sha256 {digest[:12]})", _use(weights, digest, known))


def _use(weights: Path, digest: str, known: bool) -> tuple[str, ...]:
    try:
        shown = f"~/{weights.absolute().relative_to(Path.home())}"
    except (RuntimeError, ValueError):  # no home, or not in it
        shown = str(weights.absolute())
    pinned = f"weights: {shown}, weights_sha256: {digest}"
    return (
        f"in a protocol: embedder: {{name: facenet, params: {{{pinned}}}}}",
        "the papers' scaling of pixels: preset: papers",
        *(
            []
            if known
            else ["nobody has stated this digest before: compare it with that of whom you have the file from"]
        ),
    )


def _card(name: str, digest: str) -> str:
    return f"""# {name}

- Inception-ResNet-v1 of facenet-pytorch, sha256 `{digest}`, as it was found
- checked by `mibench data import-facenet`; read by the embedder `facenet`

Licence: the code that came with the weights is under MIT; nothing is stated for the weights. They were trained on
photographs of people (VGGFace2, which its makers have withdrawn, or CASIA-WebFace), both for non-commercial research.
"""
