"""StyleGAN2 networks whose weights lie in a file: networks, the training that reads it, and what such priors share.

Shapes: B images, C channels, R side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mibench.api import BlockState, ImageSet, Prior, PriorModel, PriorTrainer, TargetView, freeze, to_rgb
from mibench_models.priors.stylegan2.deploy import Inference, deploy
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.weights import read_state

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
        """Make networks with random weights of a design: the arguments of ``generator`` and ``discriminator``."""
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


class FromFile(PriorModel, ABC):
    """What components share that read a StyleGAN2 from a file; nothing is trained.

    Attributes:
        crop: fraction of the side that shows the object.
        inference: how the generator computes in attacks.
    """

    crop: float
    inference: Inference

    @abstractmethod
    def weights(self) -> tuple[Path, str]:
        """Return the file, safetensors, and the SHA-256 that it must have; empty checks nothing."""

    @abstractmethod
    def design(self) -> dict[str, Any]:
        """Return the arguments of ``generator`` and ``discriminator``, which may be ``None``."""

    def build(self, *, channels: int, size: int, classes: int = 0) -> ReadStyleGan2:
        """Make networks of the file's design; their weights are read in the only step of the training."""
        return ReadStyleGan2(self.design(), channels=channels, crop=self.crop)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the single step that reads the weights; images are not used."""
        if not isinstance(prior, ReadStyleGan2):
            raise TypeError(f"expected a ReadStyleGan2 that build() made, got {type(prior).__name__}")
        file, sha256 = self.weights()
        return FileTrainer(prior.to(device), file, sha256=sha256)

    def deploy(self, prior: Prior) -> Prior:
        """Switch the generator to ``compute`` and compile it; see ``stylegan2/deploy.py``."""
        if not isinstance(prior, StyleGan2):
            raise TypeError(f"expected a StyleGan2 that build() made, got {type(prior).__name__}")
        return deploy(prior, compute=self.inference.compute, compiled=self.inference.compile)
