"""Bilateral dependency optimisation (BiDO).

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import Classifier, Defense, OmitIfDefault, SelfCheck, Step, TrainContext, UsageError, unknown
from mibench_defenses.parts.dependence import Dependence, ImageScale, Kernel, Measure
from mibench_defenses.parts.dependence_check import verdict
from mibench_defenses.parts.identity_batches import identity_batches


@dataclass(frozen=True, kw_only=True)
class BiDO(Defense):
    """Minimise L(x, y) + sum over stages j of [lambda_x d(X, Z_j) - lambda_y d(Z_j, Y)].

    Activations Z_j should depend little on the image X and much on the label Y; d is a kernel dependence within the
    batch. It grows with the batch size (normalised HSIC is at most B - 1), so the weights belong to a batch size. Y is
    one-hot, and a stage is flattened, a transformer's with all its tokens. A large lambda_x stops the network from
    learning. The estimate is not calibrated (see ``dependence``): a low d(X, Z) is no proof of privacy.

    Source: Peng, Liu, Zhang, Lan, Ye, Liu and Han, KDD 2022; the large lambda_x ("BiDO**") Torp, Smith and Breuer,
    ICLR 2026.

    Attributes:
        lambda_x: weight of the dependence on the image, which is pushed down; 0 leaves it free.
        lambda_y: weight of the dependence on the label, which is pushed up; 0 leaves it free.
        measure: normalised HSIC, or COCO, whose values are far smaller and want larger weights.
        kernel: kernel of the labels; images and activations have a Gaussian one.
        sigma: width of the Gaussian kernel, per dimension.
        stages: names of the classifier's stages to constrain; empty takes all of them.
        eps: ridge of the normalised HSIC, per image of the batch.
        precision: of kernels and solves; float32 halves memory and is faster on consumer GPUs.
        image_scale: range of X in d(X, Z), whatever the network sees: symmetric is [-1, 1] (AT-AT), unit is [0, 1] (the
            authors' code, whose networks also take images in [0, 1]: ``--set model.mean=[0,0,0]`` and ``std=[1,1,1]``).
            The Gaussian kernel is not invariant to it: squared distances are four times larger in [-1, 1].
        per_class: images of each person in a batch, which then holds batch / per_class people; 0 is random batches.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # HSIC on CelebA, VGG-16 at 64 px, batches of 16 people with 4 images each, as the authors' code runs it.
        "paper": {
            "lambda_x": 0.05,
            "lambda_y": 0.5,
            "measure": "hsic",
            "kernel": "linear",
            "image_scale": "unit",
            "per_class": 4,
        },
        # AT-AT has the same weights on all its networks, images in [-1, 1] and random batches.
        "atat-paper": {"lambda_x": 0.05, "lambda_y": 0.5, "measure": "hsic", "kernel": "linear"},
        # AT-AT's BiDO** has a much larger lambda_x, which is not public. 0.5 is our choice: the smallest of 0.1, 0.5
        # that lowered d(X, Z) on orl64's validation variant. Sweep it anew on other data.
        "bido-star": {"lambda_x": 0.5, "lambda_y": 0.5, "measure": "hsic", "kernel": "linear"},
        # Chosen on orl64's validation variant, taken over for rendered64: docs/defenses.md.
        "orl64": {"lambda_x": 0.05, "lambda_y": 2.0},
        "rendered64": {"lambda_x": 0.05, "lambda_y": 2.0},
        # COCO on MNIST, the authors' README.
        "coco": {"lambda_x": 1.0, "lambda_y": 50.0, "measure": "coco", "kernel": "linear"},
    }

    lambda_x: Annotated[float, Ge(0)] = 0.05
    lambda_y: Annotated[float, Ge(0)] = 0.5
    measure: Measure = "hsic"
    kernel: Kernel = "linear"
    sigma: Annotated[float, Gt(0)] = 5.0
    stages: tuple[str, ...] = ()
    eps: Annotated[float, Gt(0)] = 1e-5
    precision: Literal["float64", "float32"] = "float64"
    image_scale: Annotated[ImageScale, OmitIfDefault()] = "symmetric"
    per_class: Annotated[int, Ge(0), OmitIfDefault()] = 0

    def cost(self) -> float:
        """Return 1: the passes are plain training's.

        Left out, for they depend on network and batch: per stage a Gram matrix, about 3 B^2 D multiply-adds of a stage
        of D numbers with its gradient, and with HSIC one solve of B^3.
        """
        return 1.0

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Refuse stages that the network does not have, and leave it as it is.

        Raises:
            UsageError: if a stage is unknown, or the network names none.
        """
        if not classifier.stage_names:
            raise UsageError("bido constrains the stages of a network, and this one names none. Use another model.")
        for name in self.stages:
            if name not in classifier.stage_names:
                raise unknown("stage", name, classifier.stage_names)
        return classifier

    def labelled_batches(
        self, labels_N: Tensor, batch: int, rng: torch.Generator, *, drop_last: bool = False
    ) -> Sequence[Tensor]:
        """Return random batches, or batches of ``per_class`` images per person, which are always full.

        Raises:
            UsageError: if the recipe's batch is no multiple of ``per_class``, or wants more people than there are.
        """
        if self.per_class:
            return identity_batches(labels_N, batch, self.per_class, rng)
        return super().labelled_batches(labels_N, batch, rng, drop_last=drop_last)

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the loss of one forward pass plus the penalty; plain training while both weights are 0."""
        if self.lambda_x == 0 and self.lambda_y == 0:
            return super().training_step(model, x_BCHW, y_B, ctx)
        outputs = model.outputs(x_BCHW, stages=True)
        task = self.loss(outputs, y_B, ctx)
        on_image, on_label = self.dependences(x_BCHW, outputs.stages, one_hot(y_B, ctx.num_classes))
        penalty = (self.lambda_x * on_image - self.lambda_y * on_label).sum().to(task)
        share = penalty.detach().abs() / (penalty.detach().abs() + task.detach().abs()).clamp(min=1e-12)
        signals = {
            "dependence_xz": on_image.detach().mean(),
            "dependence_zy": on_label.detach().mean(),
            "penalty": penalty.detach(),
            "penalty_share": share,
        }
        return Step(task + penalty, signals)

    def dependences(self, x: Tensor, stages: Mapping[str, Tensor], labels_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return d(X, Z_j) and d(Z_j, Y), one number for each constrained stage.

        Args:
            x: images in [0, 1], (B, C, H, W).
            stages: activations (B, ...) by stage.
            labels_BK: one-hot labels.
        """
        d = Dependence(measure=self.measure, sigma=self.sigma, eps=self.eps, dtype=getattr(torch, self.precision))
        image_BB = d.encode(x if self.image_scale == "unit" else 2 * x - 1)
        label_BB = d.encode(labels_BK, self.kernel)
        encoded = [d.encode(stages[name]) for name in self.stages or stages]
        on_image = torch.stack([d.between(image_BB, z_BB) for z_BB in encoded])
        return on_image, torch.stack([d.between(z_BB, label_BB) for z_BB in encoded])

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the penalty was a part of the last epoch's loss and is not what it was in the first epoch."""
        return verdict(ctx.history, self.lambda_x, self.lambda_y)
