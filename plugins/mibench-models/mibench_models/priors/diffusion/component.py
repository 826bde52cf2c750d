"""The component of Diff-MI's prior: class-conditional diffusion on pseudo-labelled public images, tuned by its target.

Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424),
and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, MinLen

from mibench.api import FlatNames, ImageSet, Prior, PriorModel, PriorTrainer, TargetView, UsageError, given
from mibench_models.priors.diffusion.prior import DiffusionPrior
from mibench_models.priors.diffusion.process import Schedule
from mibench_models.priors.diffusion.training import DiffusionTrainer, DiffusionTraining, DiffusionTuning
from mibench_models.priors.diffusion.unet import UNet

TUNING_NAMES = {name: f"tune_{name}" for name in ("steps", "batch", "lr", "views", "until")}
"""What the parameters of the tuning are called on their own, where the training has one of that name."""

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


@dataclass(frozen=True, kw_only=True)
class Diffusion(PriorModel):
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
        training: the first training, of the denoiser.
        tuning: the second, of the sampler towards the target.
        guidance: weight of classifier-free guidance when sampling; 1 is none.
        sample_steps: steps of sampling.
    """

    needs_target: ClassVar[bool] = True

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # about 5 minutes of one CPU core; not tuned
        "small": SMALL,
        "orl64": SMALL,
        "rendered64": SMALL,
        "smoke": {
            **SMALL, "width": 8, "factors": (1, 2), "times": 100, "top": 4, "steps": 3, "batch": 8, "tune_steps": 2,
            "tune_batch": 2, "sample_steps": 3,
        },
    }  # fmt: skip

    width: Annotated[int, Ge(2)] = 128
    factors: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 3, 4)
    blocks: Annotated[int, Ge(1)] = 3
    attention: Annotated[int, Ge(0)] = 2
    patch: Annotated[int, Ge(1)] = 1
    times: Annotated[int, Ge(2)] = 1000
    schedule: Schedule = "linear"
    training: Annotated[DiffusionTraining, FlatNames()] = DiffusionTraining()
    tuning: Annotated[DiffusionTuning, FlatNames(**TUNING_NAMES)] = DiffusionTuning()
    guidance: Annotated[float, Ge(0)] = 3.0
    sample_steps: Annotated[int, Ge(1)] = 10

    def build(self, *, channels: int, size: int, classes: int = 0) -> DiffusionPrior:
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
            top=self.training.top,
            schedule=self.schedule,
            times=self.times,
            guidance=self.guidance,
            sample_steps=self.sample_steps,
        )

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return both phases as one training; see ``mibench_models.priors.diffusion.training``."""
        if not isinstance(prior, DiffusionPrior):
            raise TypeError(f"expected a DiffusionPrior that build() made, got {type(prior).__name__}")
        return DiffusionTrainer(self.training, self.tuning, prior, images, given(target), seed=seed, device=device)
