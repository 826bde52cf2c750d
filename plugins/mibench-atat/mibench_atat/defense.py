"""Anti-Adversarial Training: the algorithm on one screen.

Shapes: B images of a batch, C channels, H = W pixels, K classes. Every epsilon is an L-infinity radius in [0, 1] units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import (
    BatchNormPolicy,
    Classifier,
    Defense,
    OmitIfDefault,
    SelfCheck,
    Step,
    TrainContext,
    batchnorm_policy,
    loss_of,
    other_class,
    pgd,
    without_weight_gradients,
)
from mibench_atat.directions import random_direction

ACTIVE_ABOVE = 0.1
"""Targeted success on training batches from which the defense counts as active; near 0 means that it taught nothing."""

PAPER: dict[str, Any] = {"lam": 0.08, "eps": 2.5e-4, "step_size": 5e-5, "steps": 5, "method": "pgd"}

# What orl64 and rendered64 take, repeated because a preset that is asked for by name replaces a protocol's settings.
SMALL: dict[str, Any] = {"lam": 1.0, "eps": 0.00784313725490196, "step_size": 0.0015686274509803923}


@dataclass(frozen=True, kw_only=True)
class AntiAdversarialTraining(Defense):
    """Minimise L(x, y) + lam * min over |delta| <= eps of L(x + delta, y'), with y' != y.

    The inner minimum is a targeted attack on the network that is being trained; the outer loss then rewards the network
    for giving in to it. What it learns to rely on are imperceptible, non-robust features.

    Clean and perturbed images go through the network apart, and dropout stays active in the inner attack, as released:
    neither is an option. Separate BatchNorm statistics for perturbed images are not offered.

    Source: Torp, Smith and Breuer, ICLR 2026 (AT-AT).

    Attributes:
        lam: weight of the anti-adversarial term; 0 is plain training, with the very same weights (see placebo).
        eps: L-infinity radius, [0, 1] units (the paper's 5e-4 is on images in [-1, 1]).
        step_size: length of a signed step of the inner attack, [0, 1] units.
        steps: number of steps of the inner attack.
        random_start: start the inner attack uniformly in the ball.
        method: "pgd", or "fgsm" for one step of length eps from the image itself.
        batchnorm: BatchNorm in the inner attack: batch statistics that leave the running ones alone (frozen_stats) or
            update them (train, as released), or the running ones (eval).
        targets: how y' is drawn: uniformly over the other classes, or as released (class y + 1 twice as often).
        lam_warmup: epochs over which the weight rises linearly from 0 to lam; 0 is off.
        placebo: run the whole step with weight 0: the control of a trial that differs in nothing but the weight.
        direction: of the perturbation. Others than adversarial are arms of a trial: random keeps the length of each
            adversarial perturbation and points elsewhere; none leaves the image as it is, which in expectation over y'
            is 1 + lam times the cross-entropy with labels smoothed by lam K / ((K - 1) (1 + lam)).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {**PAPER, "batchnorm": "frozen_stats", "targets": "uniform"},
        "compat": {**PAPER, "batchnorm": "train", "targets": "compat"},
        "random-delta": {**SMALL, "direction": "random"},
        "no-delta": {**SMALL, "direction": "none"},
    }

    lam: Annotated[float, Ge(0)] = 0.08
    eps: Annotated[float, Gt(0)] = 2.5e-4
    step_size: Annotated[float, Gt(0)] = 5e-5
    steps: Annotated[int, Ge(1)] = 5
    random_start: bool = True
    method: Literal["pgd", "fgsm"] = "pgd"
    batchnorm: BatchNormPolicy = "frozen_stats"
    targets: Literal["uniform", "compat"] = "uniform"
    lam_warmup: Annotated[int, Ge(0)] = 0
    placebo: bool = False
    direction: Annotated[Literal["adversarial", "random", "none"], OmitIfDefault()] = "adversarial"

    def cost(self) -> float:
        """Return (steps * 2 for the inner attack + 2 * 3 for both terms) / 3; 1 if the step is plain training's."""
        if self.lam == 0 and not self.placebo:
            return 1.0
        steps = 0 if self.direction == "none" else 1 if self.method == "fgsm" else self.steps
        return (2 * steps + 2 * 3) / 3

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the clean plus the weighted anti-adversarial loss; at weight 0 plain training, unless a placebo."""
        lam = self.weight(ctx.epoch)
        if lam == 0 and not self.placebo:
            return super().training_step(model, x_BCHW, y_B, ctx)
        wrong_B = draw_targets(y_B, ctx.num_classes, ctx.rng, self.targets)
        with ctx.full_precision():  # eps is below the resolution of bf16 and TF32
            clean = model.outputs(x_BCHW)
            x_adv = self.perturb(model, x_BCHW, wrong_B, ctx.rng)
            anti = model.outputs(x_adv)
            clean_loss, anti_loss = loss_of(clean, y_B), loss_of(anti, wrong_B)
        success = (anti.logits.detach().argmax(1) == wrong_B).float().mean()
        signals = {"targeted_success": success, "clean_loss": clean_loss.detach(), "anti_loss": anti_loss.detach()}
        return Step(clean_loss + lam * anti_loss, signals)

    def perturb(self, model: Classifier, x_BCHW: Tensor, wrong_B: Tensor, rng: torch.Generator) -> Tensor:
        """Return images (B, C, H, W) in [0, 1], within eps of ``x_BCHW``, moved towards ``wrong_B`` unless an arm."""
        if self.direction == "none":
            return x_BCHW
        fgsm = self.method == "fgsm"
        step_size, steps, start = (self.eps, 1, False) if fgsm else (self.step_size, self.steps, self.random_start)
        search = partial(pgd, steps=steps, step_size=step_size, random_start=start)
        with batchnorm_policy(model, self.batchnorm), without_weight_gradients(model):
            x_adv = search(model, x_BCHW, wrong_B, eps=self.eps, targeted=True, rng=rng)
        return random_direction(x_BCHW, x_adv, rng) if self.direction == "random" else x_adv

    def weight(self, epoch: int) -> float:
        """Return the weight of the anti-adversarial term in an epoch, counted from 0; a placebo's is always 0."""
        if self.placebo:
            return 0.0
        return self.lam * min(1.0, epoch / self.lam_warmup) if self.lam_warmup else self.lam

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the targeted success, averaged over the last tenth of the epochs, is at least ``ACTIVE_ABOVE``.

        A placebo never is, however easily the perturbed images fool its network. Arms without an adversarial direction
        are active if they were trained with a weight, and with a loss that stayed finite.
        """
        if self.direction != "adversarial" and not self.placebo:
            return self._arm_check(ctx)
        last = ctx.history[-max(1, len(ctx.history) // 10) :]
        success = fmean([epoch.get("targeted_success", 0.0) for epoch in last] or [0.0])
        reason = f"targeted success {success:.3f} over the last {len(last)} epoch(s); active from {ACTIVE_ABOVE}"
        reason = f"placebo, weight 0 throughout; {reason}" if self.placebo else reason
        return SelfCheck(success >= ACTIVE_ABOVE and not self.placebo, {"targeted_success": success}, reason)

    def _arm_check(self, ctx: TrainContext) -> SelfCheck:
        last = ctx.history[-1] if ctx.history else {}
        success, anti_loss = last.get("targeted_success", 0.0), last.get("anti_loss", math.nan)
        lam = self.weight(ctx.epochs - 1)
        reason = f"direction {self.direction}, an arm of a trial: weight {lam:g}, loss for wrong labels {anti_loss:.3g}"
        signals = {"targeted_success": success, "anti_loss": anti_loss}
        return SelfCheck(lam > 0 and math.isfinite(anti_loss), signals, reason)


def draw_targets(
    y_B: Tensor, num_classes: int, rng: torch.Generator, how: Literal["uniform", "compat"] = "uniform"
) -> Tensor:
    """Draw a class y' != y for each label.

    Args:
        y_B: labels.
        num_classes: K.
        rng: CPU generator.
        how: "uniform" over the K - 1 others; "compat" draws from all K and moves hits on y to y + 1, which therefore
            has probability 2/K and the others 1/K.

    Returns:
        Wrong classes (B,), on the device of the labels.

    Raises:
        ValueError: if there is no other class.
    """
    if how == "uniform" or num_classes < 2:
        return other_class(y_B, num_classes, rng)
    drawn_B = torch.randint(0, num_classes, y_B.shape, generator=rng).to(y_B.device)
    return torch.where(drawn_B == y_B, (drawn_B + 1) % num_classes, drawn_B)
