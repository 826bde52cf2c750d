"""Adversarial training: the opposite of what privacy asks for, and the positive control of the benchmark.

Shapes: B images of a batch, C channels, H = W pixels, K classes. Every radius is in [0, 1] units.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from mibench.api import (
    BatchNormPolicy,
    Classifier,
    Defense,
    Norm,
    Outputs,
    SelfCheck,
    Step,
    TrainContext,
    batchnorm_policy,
    loss_of,
    pgd,
    without_weight_gradients,
)

ACTIVE_ABOVE = 1.01
"""Ratio of the loss under attack to the clean loss from which the attack counts: an inert radius stays at 1."""


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Defense):
    """Minimise clean_weight * L(x, y) + max over |delta| <= eps of L(x + delta, y).

    The inner maximum is an untargeted attack on the network that is being trained. Robust networks have gradients that
    look like their classes, so the AT-AT paper expects robust accuracy and leakage to rise together. A radius
    moves a logit by about eps times the 1-norm of its gradient, so small images need a larger one.

    Source: Madry, Makelov, Schmidt, Tsipras and Vladu, ICLR 2018.

    Attributes:
        eps: radius of the ball, [0, 1] units; for l2 the length over the whole image.
        steps: steps of the inner attack.
        step_size: length of a step, [0, 1] units; none is 2.5 * eps / steps.
        norm: "linf" or "l2".
        clean_weight: weight of the clean loss; 0 trains on attacked images alone.
        random_start: start the inner attack uniformly in the ball.
        method: "pgd", or "fgsm" for one step of length eps from the image itself.
        batchnorm: BatchNorm in the inner attack: batch statistics that leave the running ones alone (frozen_stats) or
            update them (train), or the running ones (eval).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The control of the AT-AT authors: eps .01, step .001 on images in [-1, 1], weight of the clean loss 0.
        "paper": {"eps": 5e-3, "step_size": 5e-4, "steps": 10},
        # The same in their code, which attacks in training mode.
        "compat": {"eps": 5e-3, "step_size": 5e-4, "steps": 10, "batchnorm": "train"},
        # Madry et al., section 5, CIFAR-10: 7 steps of 2 grey levels within 8.
        "madry": {"eps": 8 / 255, "step_size": 2 / 255, "steps": 7},
    }

    eps: Annotated[float, Gt(0)] = 5e-3
    steps: Annotated[int, Ge(1)] = 10
    step_size: Annotated[float, Gt(0)] | None = None
    norm: Norm = "linf"
    clean_weight: Annotated[float, Ge(0)] = 0.0
    random_start: bool = True
    method: Literal["pgd", "fgsm"] = "pgd"
    batchnorm: BatchNormPolicy = "frozen_stats"

    def cost(self) -> float:
        """Return (attack + clean + attacked pass) / 3; without a clean weight the clean pass is only a measurement."""
        steps = 1 if self.method == "fgsm" else self.steps
        return (2 * steps + (3 if self.clean_weight else 1) + 3) / 3

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the loss of the attacked images, plus the weighted clean loss."""
        with ctx.full_precision():  # small radii are below the resolution of bf16 and TF32
            clean = self._clean(model, x_BCHW)
            attacked = model.outputs(self.perturb(model, x_BCHW, y_B, ctx.rng))
            loss = loss_of(attacked, y_B)
            loss = loss + self.clean_weight * loss_of(clean, y_B) if self.clean_weight else loss
        logits_BK = attacked.logits.detach()
        signals = {
            "clean_loss": cross_entropy(clean.logits.detach(), y_B),
            "attacked_loss": cross_entropy(logits_BK, y_B),
            "attacked_accuracy": (logits_BK.argmax(1) == y_B).float().mean(),
        }
        return Step(loss, signals)

    def _clean(self, model: Classifier, x_BCHW: Tensor) -> Outputs:
        """Run the clean images; where they do not count, only to measure, and BatchNorm does not see them."""
        if self.clean_weight:
            return model.outputs(x_BCHW)
        with torch.no_grad(), batchnorm_policy(model, "frozen_stats"):
            return model.outputs(x_BCHW)

    def perturb(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, rng: torch.Generator) -> Tensor:
        """Return images (B, C, H, W) in [0, 1], within eps of ``x_BCHW``, moved away from ``y_B``."""
        fgsm = self.method == "fgsm"
        length = self.eps if fgsm else self.step_size or 2.5 * self.eps / self.steps
        steps, start = (1, False) if fgsm else (self.steps, self.random_start)
        with batchnorm_policy(model, self.batchnorm), without_weight_gradients(model):
            return pgd(
                model, x_BCHW, y_B, eps=self.eps, step_size=length, steps=steps, rng=rng,
                targeted=False, random_start=start, norm=self.norm,
            )  # fmt: skip

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff over the whole training the loss under attack was ``ACTIVE_ABOVE`` times the clean one."""
        means = {
            name: fmean([epoch.get(name, 0.0) for epoch in ctx.history] or [0.0])
            for name in ("clean_loss", "attacked_loss", "attacked_accuracy")
        }
        clean, attacked = means["clean_loss"], means["attacked_loss"]
        reason = f"mean training loss {attacked:.4g} under attack, {clean:.4g} clean; active from {ACTIVE_ABOVE} times"
        return SelfCheck(attacked > ACTIVE_ABOVE * clean, means, reason)
