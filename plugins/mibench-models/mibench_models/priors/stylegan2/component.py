"""The component that builds StyleGAN2 priors and trains them on public images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le

from mibench.api import FlatNames, ImageSet, Prior, PriorModel, PriorTrainer, TargetView
from mibench_models.priors.stylegan2.deploy import Inference, deploy
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.priors.stylegan2.training import GanTrainer, GanTraining


@dataclass(frozen=True, kw_only=True)
class StyleGan2Prior(PriorModel):
    """Build and train a StyleGAN2 generator on public images (Karras et al., CVPR 2020 and NeurIPS 2020).

    Attributes:
        z_dim: size of the noise.
        w_dim: size of a style vector.
        mapping_layers: layers of the mapping network.
        channel_base: features at side r are channel_base / r; 32768 is config-f.
        channel_max: upper bound of the features.
        conv_clamp: bound on activations, 256 in official half-precision networks; 0 for none.
        crop: fraction of the side that shows the object.
        training: how the networks are trained.
        inference: how the trained generator computes in attacks.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"channel_max": 64, "kimg": 100.0},
    }

    z_dim: Annotated[int, Ge(1)] = 128
    w_dim: Annotated[int, Ge(1)] = 128
    mapping_layers: Annotated[int, Ge(1)] = 4
    channel_base: Annotated[int, Ge(8)] = 1024
    channel_max: Annotated[int, Ge(1)] = 128
    conv_clamp: Annotated[float, Ge(0)] = 0.0
    crop: Annotated[float, Gt(0), Le(1)] = 1.0
    training: Annotated[GanTraining, FlatNames()] = GanTraining()
    inference: Annotated[Inference, FlatNames()] = Inference()

    def build(self, *, channels: int, size: int, classes: int = 0) -> StyleGan2:
        """Make untrained networks, discriminator included. Called with torch's global generator seeded."""
        design = self.design(channels=channels, size=size)
        generator, discriminator = Generator(**design["generator"]), Discriminator(**design["discriminator"])
        return StyleGan2(generator, discriminator, crop=self.crop)

    def design(self, *, channels: int, size: int) -> dict[str, dict[str, Any]]:
        """Return the arguments of ``generator`` and ``discriminator``."""
        shape: dict[str, Any] = {
            "img_resolution": size,
            "img_channels": channels,
            "channel_base": self.channel_base,
            "channel_max": self.channel_max,
            "conv_clamp": self.conv_clamp or None,
        }
        mapping = {"z_dim": self.z_dim, "w_dim": self.w_dim, "mapping_layers": self.mapping_layers}
        return {"generator": {**mapping, **shape}, "discriminator": shape}

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the adversarial training; see ``mibench_models.priors.stylegan2.training``."""
        if not isinstance(prior, StyleGan2):
            raise TypeError(f"expected a StyleGan2 that build() made, got {type(prior).__name__}")
        return GanTrainer(self.training, prior, images, seed=seed, device=device)

    def deploy(self, prior: Prior) -> Prior:
        """Switch the trained generator to ``compute`` and compile it; see ``stylegan2/deploy.py``."""
        if not isinstance(prior, StyleGan2):
            raise TypeError(f"expected a StyleGan2 that build() made, got {type(prior).__name__}")
        return deploy(prior, compute=self.inference.compute, compiled=self.inference.compile)
