"""Unseen pixels: a network that provably never reads most of the image.

Shapes: B images of a batch, C channels, H = W pixels, N training images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mibench.api import (
    Classifier,
    Defense,
    FlatNames,
    ImageSet,
    SelfCheck,
    Step,
    TrainContext,
    Transform,
    UsageError,
    WarmStart,
    loss_of,
    replaced,
)
from mibench_defenses.parts.group_lasso import GroupLasso, group_norms
from mibench_defenses.parts.masked import Mask, MaskedClassifier, MaskedImages, masked, smallest


@dataclass(frozen=True, kw_only=True)
class UnseenPixels(Defense):
    """Train f(1/2 + w * (x - 1/2)), with w a mask that has learnt on few pixels p of the image it can do.

    ``learn`` minimises CE + lam * mean over p of |w_p| (+ ridge * mean of |w_p|^2) over net and mask, w_p being the C
    numbers of a pixel, and after each step sets pixels with |w_p| <= tau to 0. ``final`` trains a fresh network behind
    that mask, frozen; ``learn`` is then trained before it, once for all its variants. Adaptive: the group of p weighs
    1 / (|w_p of a first run|^gamma + 1e-8), and what the first run removed stays removed.

    A removed pixel is mid-grey for the network: its column of the Jacobian is 0, so the Cramér-Rao bound of any
    unbiased estimate of it is infinite. An attack with an image prior is biased and may guess it all the same.

    ``lam`` counts against the mean cross-entropy and the mean over pixels: l on the summed cross-entropy of a batch B
    and the sum over H * W pixels is lam = l * H * W / B here (the published .025 with B = 128 at 224 pixels is 9.8).

    Source: Torp, Smith and Breuer, ICLR 2026 (unseen pixels); adaptive group lasso: Dinh and Ho, NeurIPS 2020.

    Attributes:
        stage: ``final`` is the defended network; ``learn`` is the training of the mask that comes before it.
        penalty: what the mask pays for the pixels that it lets through.
        mask: how it is learnt, and used by ``final``.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # Configured defaults of the release; which combination gave the published run is not stated.
        "paper": {"lam": 9.8, "mask_init": 0.5, "tau": 0.0025, "mask_method": "layer"},
    }

    stage: Literal["learn", "final"] = "final"
    penalty: Annotated[GroupLasso, FlatNames()] = GroupLasso()
    mask: Annotated[Mask, FlatNames(init="mask_init", method="mask_method")] = Mask()

    def starts_from(self) -> WarmStart | None:
        """Return the training of the mask, or the first of two; neither depends on options of ``final``."""
        if self.stage == "final":
            return WarmStart(
                "private",
                replaced(
                    self, {"stage": "learn", "mask.binarise": False, "mask.method": "transform", "mask.removed": 0.0}
                ),
            )
        if not self.penalty.adaptive:
            return None
        return WarmStart("private", replaced(self, {"penalty.adaptive": False, "penalty.gamma": 1.0}))

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put the mask in front of the network, and beside it what the training needs.

        Raises:
            UsageError: if another defense has already wrapped the network.
        """
        if type(classifier) is not Classifier or len(list(classifier.children())) > 1:
            raise UsageError("unseen-pixels masks a plain classifier; in a combination of defenses, name it first.")
        mask_CHW = torch.ones(ctx.channels, ctx.size, ctx.size, device=ctx.device)
        if ctx.start is not None:
            mask_CHW = ctx.start["mask"].to(mask_CHW).clone()
        if self.stage == "final" and self.mask.removed:
            mask_CHW = mask_CHW * ~smallest(group_norms(mask_CHW), self.mask.removed)
        ctx.extras["norms"] = group_norms(mask_CHW)
        read_CHW = (ctx.extras["norms"] > 0).to(mask_CHW).repeat(ctx.channels, 1, 1)
        if self.stage == "learn":
            mask_CHW = nn.Parameter(self.mask.init * read_CHW)
        elif self.mask.binarise:
            mask_CHW = read_CHW
        everywhere = self.stage == "learn" or self.mask.method == "layer"
        model = MaskedClassifier(classifier, mask_CHW, everywhere=everywhere)
        ctx.extras["mask"] = model.mask_CHW
        return model

    def train_transform(self, base: Transform, ctx: TrainContext) -> Transform:
        """Mask the images before the augmentation if asked for."""
        if self.stage == "learn" or self.mask.method != "transform":
            return base
        return lambda x_BCHW: base(masked(x_BCHW, ctx.extras["mask"]))

    def train_dataset(self, data: ImageSet, ctx: TrainContext) -> ImageSet:
        """Mask the training images for good if asked for."""
        if self.stage == "learn" or self.mask.method != "dataset":
            return data
        return MaskedImages(data, ctx.extras["mask"].cpu())

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the cross-entropy, while the mask is learnt with its penalty."""
        loss = loss_of(model.outputs(x_BCHW), y_B)
        penalty = (
            self.penalty.of(ctx.extras["mask"], ctx.extras["norms"]) if self.stage == "learn" else loss.new_zeros(())
        )
        n_features = (ctx.extras["mask"].detach() != 0).any(0).sum()
        return Step(loss + penalty, {"penalty": penalty.detach(), "n_features": n_features})

    def on_step_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Set pixels under the threshold to 0, and those that a first run removed."""
        if self.stage == "final":
            return
        tau = self.mask.tau_first if ctx.epoch < round(self.mask.switch * ctx.epochs) else self.mask.tau
        with torch.no_grad():
            kept_HW = (group_norms(ctx.extras["mask"]) > tau) & (ctx.extras["norms"] > 0)
            ctx.extras["mask"].mul_(kept_HW)

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        """Return the network, from now on masked in every mode."""
        if isinstance(model, MaskedClassifier):
            model.everywhere = True
        return model

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff some pixels are removed, but not all."""
        read_HW = group_norms(ctx.extras["mask"].detach()) > 0
        left, removed = int(read_HW.sum()), 1 - float(read_HW.float().mean())
        reason = f"{removed:.3f} of the pixels are removed, {left} are left; active if some are, but not all"
        return SelfCheck(0 < removed < 1, {"removed": removed, "n_features": float(left)}, reason)
