"""The component that builds StyleGAN2 priors and trains them on public images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le

from mibench.api import ImageSet, InferenceOnly, Prior, PriorModel, PriorTrainer
from mibench_models.priors.stylegan2.compute import Compute
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2


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
        kimg: length of the training in thousands of real images.
        batch: images per step.
        lr: learning rate of both networks (Adam, betas 0 and 0.99).
        r1_gamma: weight of the R1 penalty.
        r1_interval: steps between R1 penalties.
        path_weight: weight of path-length regularisation (official 2); 0 is off, which small networks do well with.
        path_interval: steps between path-length penalties.
        style_mixing: probability that a sample uses two style vectors.
        ema_kimg: half-life of the averaged generator in thousands of images.
        ema_rampup: the half-life is at most this fraction of the images seen so far.
        augment: "none" or a comma-separated policy of flip, translate, cutout, color.
        mirror: show real images mirrored half of the time.
        compute: arithmetic of the trained generator in attacks: fp32, tf32 or bf16 (mapping stays float32).
        compile: compile the trained generator for attacks with torch.compile.
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
    kimg: Annotated[float, Gt(0)] = 200.0
    batch: Annotated[int, Ge(1)] = 16
    lr: Annotated[float, Gt(0)] = 2.5e-3
    r1_gamma: Annotated[float, Ge(0)] = 0.1
    r1_interval: Annotated[int, Ge(1)] = 16
    path_weight: Annotated[float, Ge(0)] = 0.0
    path_interval: Annotated[int, Ge(1)] = 8
    style_mixing: Annotated[float, Ge(0), Le(1)] = 0.5
    ema_kimg: Annotated[float, Gt(0)] = 5.0
    ema_rampup: Annotated[float, Gt(0)] = 0.05
    augment: str = "none"
    mirror: bool = True
    compute: Annotated[Compute, InferenceOnly()] = "fp32"
    compile: Annotated[bool, InferenceOnly()] = False

    def build(self, *, channels: int, size: int) -> StyleGan2:
        """Make untrained networks, discriminator included. Called with torch's global generator seeded."""
        shape: dict[str, Any] = {
            "img_resolution": size,
            "img_channels": channels,
            "channel_base": self.channel_base,
            "channel_max": self.channel_max,
            "conv_clamp": self.conv_clamp or None,
        }
        generator = Generator(z_dim=self.z_dim, w_dim=self.w_dim, mapping_layers=self.mapping_layers, **shape)
        return StyleGan2(generator, Discriminator(**shape), crop=self.crop)

    def trainer(self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device) -> PriorTrainer:
        """Return the adversarial training; see ``mibench_models.priors.stylegan2.training``."""
        from mibench_models.priors.stylegan2.training import GanTrainer

        if not isinstance(prior, StyleGan2):
            raise TypeError(f"expected a StyleGan2 that build() made, got {type(prior).__name__}")
        return GanTrainer(self, prior, images, seed=seed, device=device)

    def deploy(self, prior: Prior) -> Prior:
        """Switch the trained generator to ``compute`` and compile it; see ``stylegan2/deploy.py``."""
        from mibench_models.priors.stylegan2.deploy import deploy

        if not isinstance(prior, StyleGan2):
            raise TypeError(f"expected a StyleGan2 that build() made, got {type(prior).__name__}")
        return deploy(prior, compute=self.compute, compiled=self.compile)
