"""The component that reads a StyleGAN2 which ``mibench data import-stylegan`` wrote; nothing is trained.

Shapes: B images, C channels, R side.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import safetensors
import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from mibench.api import (
    BlockState,
    DataError,
    FlatNames,
    ImageSet,
    InputFile,
    Prior,
    PriorModel,
    PriorTrainer,
    TargetView,
    freeze,
    to_rgb,
)
from mibench_models.priors.stylegan2.deploy import Inference, deploy
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.weights import read_state

WEIGHTS, METADATA = "weights.safetensors", "mibench"
"""The file, and the entry of its metadata that holds the networks' design as JSON."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as Pillow's mode L)."""


def recolour(x_BCRR: Tensor, channels: int) -> Tensor:
    """Return images with 1 or 3 channels: grey by luma, or grey repeated."""
    if x_BCRR.shape[1] == channels:
        return x_BCRR
    if channels == 3:
        return to_rgb(x_BCRR)
    return (x_BCRR * x_BCRR.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


class ReadStyleGan2(StyleGan2):
    """A StyleGAN2 whose images have the protocol's channels, whatever its own are.

    Attributes:
        channels: of rendered images; what is carried between blocks keeps the network's own.
    """

    def __init__(self, design: dict[str, Any], *, channels: int, crop: float) -> None:
        """Make networks with random weights of a design, as the importer wrote it."""
        critic = design["discriminator"]
        super().__init__(Generator(**design["generator"]), critic and Discriminator(**critic), crop=crop)
        self.channels, self.own_channels = channels, design["generator"]["img_channels"]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Render images (B, C, R, R), nominally in [0, 1], from block ``start`` on."""
        return recolour(super().render(latent_BLW, start=start, carry=carry), self.channels)

    @property
    def discriminator(self) -> nn.Module | None:
        """The critic: images of either number of channels in [0, 1] to realism logits (B,)."""
        if self.critic is None or self.channels == self.own_channels:
            return self.critic
        return _Recoloured(self.critic, self.own_channels)


class _Recoloured(nn.Module):
    def __init__(self, critic: nn.Module, channels: int) -> None:
        super().__init__()
        self.critic, self.channels = critic, channels

    def forward(self, x_BCRR: Tensor) -> Tensor:
        logits: Tensor = self.critic(recolour(x_BCRR, self.channels))
        return logits


class FileTrainer(PriorTrainer):
    """Reads the weights in its single step.

    Attributes:
        total_steps: 1.
    """

    total_steps = 1

    def __init__(self, prior: ReadStyleGan2, file: Path, *, sha256: str) -> None:
        self.prior, self.file, self.sha256 = prior, file, sha256

    def step(self, index: int) -> dict[str, float]:
        """Read the weights; returns the number of ``parameters``."""
        self.prior.load_state_dict(read_state(str(self.file), sha256=self.sha256))
        return {"parameters": float(sum(parameter.numel() for parameter in self.prior.parameters()))}

    def state(self) -> dict[str, Tensor]:
        """Return the weights."""
        return {name: tensor.detach().clone() for name, tensor in self.prior.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.prior.load_state_dict(state)

    def finish(self) -> ReadStyleGan2:
        """Return the prior, frozen."""
        return freeze(self.prior)


@dataclass(frozen=True, kw_only=True)
class StyleGan2File(PriorModel):
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
        if self.folder and self._file.is_file():
            return []
        command = f"mibench data import-stylegan FILE.pkl --output {self.folder or 'FOLDER'}"
        if self.folder:
            return [f"{self._file} does not exist. Import a network pickle: {command}"]
        how = f"{command}; then add --set stylegan2-file.folder=FOLDER"
        return [f"prior 'stylegan2-file' needs its parameter folder, which this command fills: {how}"]

    def build(self, *, channels: int, size: int, classes: int = 0) -> ReadStyleGan2:
        """Make networks of the file's design; their weights are read in the only step of the training."""
        return ReadStyleGan2(self._design(), channels=channels, crop=self.crop)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the single step that reads the weights; images are not used."""
        if not isinstance(prior, ReadStyleGan2):
            raise TypeError(f"expected a ReadStyleGan2 that build() made, got {type(prior).__name__}")
        return FileTrainer(prior.to(device), self._file, sha256=self.sha256)

    def deploy(self, prior: Prior) -> Prior:
        """Switch the generator to ``compute`` and compile it; see ``stylegan2/deploy.py``."""
        if not isinstance(prior, StyleGan2):
            raise TypeError(f"expected a StyleGan2 that build() made, got {type(prior).__name__}")
        return deploy(prior, compute=self.inference.compute, compiled=self.inference.compile)

    @property
    def _file(self) -> Path:
        return Path(self.folder).expanduser() / WEIGHTS

    def _design(self) -> dict[str, Any]:
        if self.missing():
            raise DataError("; ".join(self.missing()))
        try:
            with safetensors.safe_open(self._file, framework="pt") as opened:
                found: dict[str, Any] = json.loads((opened.metadata() or {})[METADATA])
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise DataError(
                f"{self._file} is not what import-stylegan writes ({type(error).__name__}: {error}). Import the pickle"
                " again: mibench data import-stylegan FILE.pkl --output FOLDER"
            ) from error
        return found
