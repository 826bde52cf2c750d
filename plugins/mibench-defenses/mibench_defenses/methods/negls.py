"""Negative label smoothing.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import log_softmax, nll_loss

from mibench.api import Classifier, Defense, OmitIfDefault, Outputs, SelfCheck, Step, TrainContext, loss_of


@dataclass(frozen=True, kw_only=True)
class NegativeLabelSmoothing(Defense):
    """Cross-entropy against labels (1 - alpha) * one-hot + alpha / K, with a negative alpha late in training.

    The loss has no lower bound: it rewards sending wrong-class probabilities to 0, so margins grow without end and
    gradients of the cross-entropy vanish. That masks gradient attacks; read robust accuracy beside it with care.

    Source: Struppek, Hintersdorf and Kersting, ICLR 2024; schedule as in the authors' Plug & Play code.

    Attributes:
        alpha: smoothing, at most 1; negative is the defense, positive is reported to harm privacy, 0 is plain training.
        start: fraction of the epochs after which smoothing begins to rise.
        full: fraction of the epochs after which all of alpha holds; the rise has reached only half of it by then.
        early: epochs by which the schedule is ahead. AT-AT's code counts an epoch before it looks up the schedule, so
            there everything happens one epoch earlier.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"alpha": -0.05, "start": 0.5, "full": 0.75},
        "atat-paper": {"alpha": -0.05, "start": 0.5, "full": 0.75, "early": 1},
        "constant": {"alpha": -0.05, "start": 0.0, "full": 0.0},
        "ls-positive": {"alpha": 0.1, "start": 0.0, "full": 0.0},
        "ls-half": {
            "alpha": 0.5,
            "start": 0.0,
            "full": 0.0,
        },  # as atat at lam 1 without a perturbation, of many classes
    }

    alpha: Annotated[float, Le(1)] = -0.05
    start: Annotated[float, Ge(0), Le(1)] = 0.5
    full: Annotated[float, Ge(0), Le(1)] = 0.75
    early: Annotated[int, Ge(0), OmitIfDefault()] = 0

    def smoothing(self, epoch: int, epochs: int) -> float:
        """Return the smoothing of an epoch, counted from 0: none, then a ramp, then a jump to alpha."""
        first, epoch = self.start * epochs, epoch + self.early
        if epoch >= self.full * epochs:
            return self.alpha
        return self.alpha * ((epoch + 1 - first) / (epochs - first)) if epoch >= first else 0.0

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the smoothed loss of one forward pass."""
        outputs = model.outputs(x_BCHW)
        with torch.no_grad():
            uniform_nll = -log_softmax(outputs.logits, 1, dtype=torch.float32).mean()
        smoothing = self.smoothing(ctx.epoch, ctx.epochs)
        return Step(self.loss(outputs, y_B, ctx), {"smoothing": smoothing, "uniform_nll": uniform_nll})

    def loss(self, outputs: Outputs, y_B: Tensor, ctx: TrainContext) -> Tensor:
        """Return the smoothed cross-entropy with the smoothing of the current epoch; scalar."""
        return loss_of(outputs, y_B, partial(smoothed_cross_entropy, alpha=self.smoothing(ctx.epoch, ctx.epochs)))

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the last epoch trained with the whole of a non-zero alpha and the loss stayed finite."""
        last = ctx.history[-1] if ctx.history else {}
        smoothing, uniform_nll = last.get("smoothing", 0.0), last.get("uniform_nll", math.nan)
        active = math.isclose(smoothing, self.alpha) and self.alpha != 0 and math.isfinite(uniform_nll)
        return SelfCheck(
            active=active,
            signals={"smoothing": smoothing, "uniform_nll": uniform_nll},
            reason=f"last epoch: smoothing {smoothing:g} of {self.alpha:g}, mean -log p over classes {uniform_nll:.3g}",
        )


def smoothed_cross_entropy(logits_BK: Tensor, y_B: Tensor, *, alpha: float) -> Tensor:
    """Return (1 - alpha) * NLL + alpha * mean over classes of -log p, averaged over the batch.

    The log-softmax is taken in float32, for under a negative alpha the log-probabilities that matter are the smallest.

    Args:
        logits_BK: logits (B, K).
        y_B: labels (B,).
        alpha: smoothing, at most 1; may be negative, which torch's ``label_smoothing`` refuses.

    Returns:
        A float32 scalar.
    """
    log_p_BK = log_softmax(logits_BK, 1, dtype=torch.float32)
    return (1 - alpha) * nll_loss(log_p_BK, y_B) - alpha * log_p_BK.mean()
