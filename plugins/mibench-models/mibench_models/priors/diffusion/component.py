"""The prior of Diff-MI: a class-conditional diffusion model on pseudo-labelled public images, tuned by its target.

Shapes: B latents, K classes, T public images per class, L = 1, C channels, S = side in pixels, Z = C * S * S pixels.
Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424),
and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mibench.api import BlockState, GuidedPriorModel, ImageSet, Prior, PriorTrainer, TargetView, UsageError
from mibench_models.priors.diffusion.process import Schedule, ddim, signal_shares, spaced
from mibench_models.priors.diffusion.unet import UNet
from mibench_models.priors.parts.conditional import ConditionalPrior

SMALL: dict[str, Any] = {
    "width": 24,
    "factors": (1, 2, 3),
    "blocks": 1,
    "attention": 1,
    "patch": 2,
    "steps": 1100,
    "batch": 24,
    "lr": 1e-3,
    "ema": 0.995,
    "tune_steps": 80,
    "tune_views": 1,
    "sample_steps": 8,
}


class DiffusionPrior(ConditionalPrior):
    """Latents are the noise that sampling starts from, and a class; ``render`` is DDIM in a few steps.

    Without a class it renders under the null label. Attacks on images may use ``noise_estimate`` and ``denoise``; they
    work on images in [-1, 1] and times 1 .. ``len(share_T)``.

    Attributes:
        net: the U-Net; of a trained prior, the moving average of the weights.
        share_T: alpha-bar, the share of the clean image's variance at each time.
        pseudo_KT: indices of the public images that were taken for each class, the target's favourites first.
        image_shape: (C, S, S).
    """

    share_T: Tensor
    pseudo_KT: Tensor

    def __init__(
        self, net: UNet, *, shape: tuple[int, int, int], classes: int, top: int, schedule: Schedule, times: int,
        guidance: float, sample_steps: int,
    ) -> None:  # fmt: skip
        super().__init__(shape[0] * shape[1] * shape[2], classes, unconditioned=0.0)
        self.net, self.image_shape, self.guidance, self.sample_steps = net, shape, guidance, sample_steps
        self.register_buffer("share_T", signal_shares(schedule, times))
        self.register_buffer("pseudo_KT", torch.zeros(classes, top, dtype=torch.long))
        self.to(memory_format=torch.channels_last)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, S, S), not clamped.

        Raises:
            ValueError: if ``start`` is not 0; there is nothing to enter in the middle.
        """
        if start != 0:
            raise ValueError(f"a diffusion prior has one block; got start={start}")
        noise_BZ, weights_BK = self.parts(latent_BLW)
        return (self.sample_path(noise_BZ.unflatten(1, self.image_shape), weights_BK)[-1] + 1) / 2

    def sample_path(self, noise_BCSS: Tensor, weights_BK: Tensor) -> list[Tensor]:
        """Return the clean image in [-1, 1] as seen at each step of sampling; the last one is the sample."""
        times = spaced(len(self.share_T), self.sample_steps)
        return ddim(noise_BCSS, lambda x, t: self._estimate(x, t, weights_BK, self.guidance), self.share_T, times)

    def noise_estimate(self, x_BCSS: Tensor, time: int, labels_B: Tensor, *, guidance: float) -> Tensor:
        """Estimate the noise in images at a time: without class + guidance x (with class - without class)."""
        return self._estimate(x_BCSS, time, one_hot(labels_B, self.classes).to(x_BCSS), guidance)

    def denoise(self, x_BCSS: Tensor, time: int, labels_B: Tensor, *, guidance: float, steps: int) -> Tensor:
        """Return the clean images that DDIM reaches from noisy ones at a time."""
        weights_BK = one_hot(labels_B, self.classes).to(x_BCSS)
        times = spaced(time, steps)
        return ddim(x_BCSS, lambda x, t: self._estimate(x, t, weights_BK, guidance), self.share_T, times)[-1]

    def _estimate(self, x_BCSS: Tensor, time: int, weights_BK: Tensor, guidance: float) -> Tensor:
        time_B = torch.full((len(x_BCSS),), time, device=x_BCSS.device)
        if guidance == 1:
            found: Tensor = self.net(x_BCSS, time_B, weights_BK)
            return found
        doubled_BK = torch.cat([torch.zeros_like(weights_BK), weights_BK])
        without_BCSS, with_BCSS = self.net(x_BCSS.repeat(2, 1, 1, 1), time_B.repeat(2), doubled_BK).chunk(2)
        return torch.lerp(without_BCSS, with_BCSS, guidance)

    @property
    def tunable(self) -> Sequence[nn.Parameter]:
        """The U-Net's weights."""
        return list(self.net.parameters())


@dataclass(frozen=True, kw_only=True)
class Diffusion(GuidedPriorModel):
    """Train ``E |e - e(x_t, t, y)|^2`` on pseudo-labelled public images, then tune the sampler towards the target.

    The tuning draws classes, samples by DDIM under guidance and descends, through the whole sampling, the mean over all
    steps' clean images of ``topk_margin(T, y) + feature_weight |F - p_y|^2``; F are the target's features and p_y their
    mean over the class's pseudo-labelled images. Only label embeddings and the middle block move.

    Defaults are the paper's and its code's; the share of images without a class is the usual one, not a published one.
    Deliberate differences: DDIM in place of DPM-Solver++; classes are drawn and not passed through in epochs, so that
    the tuning ends after a number of steps (100 epochs of 1,000 classes in batches of 4) or by ``tune_until``.

    Attributes:
        width: channels of the U-Net's first level.
        factors: channels of each level in units of width; each level has half the side of the one before.
        blocks: residual blocks per level.
        attention: number of last levels with self-attention.
        patch: side of the squares of pixels that become channels before the first level; 1 for none.
        times: diffusion times.
        schedule: 'linear' or 'cosine'.
        top: public images per class, the ones that the target likes best.
        steps: steps of the first training.
        batch: images per step.
        lr: learning rate of AdamW.
        ema: decay of the moving average of the weights.
        null: share of images that are shown without their class.
        mirror: show images mirrored half of the time.
        tune_steps: most steps of the tuning; 0 leaves it out, and the target is asked for pseudo labels only.
        tune_batch: samples per step of the tuning.
        tune_lr: learning rate of AdamW in the tuning.
        tune_views: random changes under which the target sees each sample.
        tune_until: the tuning rests once this share of recent samples is taken for its class.
        topk: rivals of the margin.
        feature_weight: weight of the distance of features.
        guidance: weight of classifier-free guidance when sampling; 1 is none.
        sample_steps: steps of sampling.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # about 5 minutes of one CPU core; not tuned
        "small": SMALL,
    }

    width: Annotated[int, Ge(2)] = 128
    factors: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 3, 4)
    blocks: Annotated[int, Ge(1)] = 3
    attention: Annotated[int, Ge(0)] = 2
    patch: Annotated[int, Ge(1)] = 1
    times: Annotated[int, Ge(2)] = 1000
    schedule: Schedule = "linear"
    top: Annotated[int, Ge(1)] = 30
    steps: Annotated[int, Ge(1)] = 50_000
    batch: Annotated[int, Ge(1)] = 150
    lr: Annotated[float, Gt(0)] = 1e-4
    ema: Annotated[float, Ge(0), Lt(1)] = 0.9999
    null: Annotated[float, Ge(0), Le(1)] = 0.1
    mirror: bool = True
    tune_steps: Annotated[int, Ge(0)] = 25_000
    tune_batch: Annotated[int, Ge(1)] = 4
    tune_lr: Annotated[float, Gt(0)] = 2e-4
    tune_views: Annotated[int, Ge(1)] = 2
    tune_until: Annotated[float, Gt(0), Le(1)] = 0.99
    topk: Annotated[int, Ge(1)] = 20
    feature_weight: Annotated[float, Ge(0)] = 1.0
    guidance: Annotated[float, Ge(0)] = 3.0
    sample_steps: Annotated[int, Ge(1)] = 10

    def build(self, *, channels: int, size: int, classes: int) -> DiffusionPrior:
        """Make an untrained prior.

        Raises:
            UsageError: if the levels do not fit the size.
        """
        unit = self.patch * 2 ** (len(self.factors) - 1)
        if size % unit:
            needs = f"patch {self.patch} and {len(self.factors)} levels need a side divisible by {unit}"
            raise UsageError(f"prior 'diffusion': {needs}, got {size}")
        net = UNet(
            channels,
            classes,
            width=self.width,
            factors=self.factors,
            blocks=self.blocks,
            attention=self.attention,
            patch=self.patch,
        )
        return DiffusionPrior(
            net,
            shape=(channels, size, size),
            classes=classes,
            top=self.top,
            schedule=self.schedule,
            times=self.times,
            guidance=self.guidance,
            sample_steps=self.sample_steps,
        )

    def trainer(
        self, prior: Prior, images: ImageSet, target: TargetView, *, seed: int, device: torch.device
    ) -> PriorTrainer:
        """Return both phases as one training; see ``mibench_models.priors.diffusion.training``."""
        from mibench_models.priors.diffusion.training import DiffusionTrainer

        if not isinstance(prior, DiffusionPrior):
            raise TypeError(f"expected a DiffusionPrior that build() made, got {type(prior).__name__}")
        return DiffusionTrainer(self, prior, images, target, seed=seed, device=device)
