"""The component that reads a StyleGAN2 which ``mibench data import-stylegan`` wrote; nothing is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import safetensors
from annotated_types import Gt, Le

from mibench.api import DataError, FlatNames, InputFile
from mibench_models.priors.stylegan2.deploy import Inference
from mibench_models.priors.stylegan2_file.reading import FromFile

WEIGHTS, METADATA = "weights.safetensors", "mibench"
"""The file, and the entry of its metadata that holds the networks' design as JSON."""


@dataclass(frozen=True, kw_only=True)
class StyleGan2File(FromFile):
    """Use a StyleGAN2 generator (and its discriminator) that somebody else trained, such as NVIDIA's on FFHQ.

    Images are rendered at the generator's own resolution, cropped, and resized to the protocol's side; RGB becomes grey
    for protocols with one channel. Make the folder with `mibench data import-stylegan ffhq.pkl`.

    Attributes:
        folder: what `mibench data import-stylegan` wrote; `~` is the home folder.
        sha256: digest that its weights.safetensors must have; empty checks nothing. Protocols should state it.
        crop: fraction of the side that shows the object; PPA uses 0.78125 (800 of 1024 pixels) for faces of FFHQ.
        inference: how the generator computes in attacks.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # where `mibench data import-stylegan ffhq.pkl` writes unless told otherwise
        "ffhq": {"folder": "~/.cache/mibench-imported/stylegan/ffhq", "crop": 0.78125},
    }

    folder: Annotated[str, InputFile()] = ""
    sha256: str = ""
    crop: Annotated[float, Gt(0), Le(1)] = 1.0
    inference: Annotated[Inference, FlatNames()] = Inference()

    def missing(self) -> list[str]:
        """Return how to get the weights, if they are not there."""
        file, _ = self.weights()
        if self.folder and file.is_file():
            return []
        command = f"mibench data import-stylegan FILE.pkl --output {self.folder or 'FOLDER'}"
        if self.folder:
            return [f"{file} does not exist. Import a network pickle: {command}"]
        how = f"{command}; then add --set stylegan2-file.folder=FOLDER"
        return [f"prior 'stylegan2-file' needs its parameter folder, which this command fills: {how}"]

    def weights(self) -> tuple[Path, str]:
        """Return the file, and the digest that was asked for."""
        return Path(self.folder).expanduser() / WEIGHTS, self.sha256

    def design(self) -> dict[str, Any]:
        """Return the networks' arguments, as the importer wrote them.

        Raises:
            DataError: if the file is not there, or is not what the importer writes.
        """
        if self.missing():
            raise DataError("; ".join(self.missing()))
        file, _ = self.weights()
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                found: dict[str, Any] = json.loads((opened.metadata() or {})[METADATA])
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise DataError(
                f"{file} is not what import-stylegan writes ({type(error).__name__}: {error}). Import the pickle"
                " again: mibench data import-stylegan FILE.pkl --output FOLDER"
            ) from error
        return found
