"""Mutual-information regularisation by a variational information bottleneck.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features, Z dimensions of the bottleneck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import softplus

from mibench.api import Classifier, Defense, Outputs, SelfCheck, Step, TrainContext, UsageError, loss_of

SMALLEST_SIGMA = 1e-7
NOISE_FROM = 0.1
"""Noise-to-signal ratio from which the bottleneck counts as active; below it, 99 % of the power is signal."""


@dataclass(frozen=True, kw_only=True)
class MutualInformationRegularisation(Defense):
    """Cross-entropy of classes read from z ~ N(mu(x), sigma(x)^2), plus beta * KL(N(mu, sigma^2) || N(0, 1)).

    The divergence bounds from above how much z tells about the image; it is summed over the dimensions of z and
    averaged over the batch. Auxiliary heads keep plain cross-entropy. Sigma begins at about 0.007, so a small beta or
    a short training can leave an ordinary network behind; the verdict tells.

    Source: Wang, Zhang and Jia, AAAI 2021 (MID); sigma = softplus(s - 5) as in the authors' code.

    Attributes:
        beta: weight of the divergence; 0 is a plain two-layer head with noise that nothing keeps up.
        bottleneck: dimensions Z of the bottleneck; ``None`` is half of the features.
        deployed: what is attacked: ``mean`` reads classes from mu; ``sample`` draws noise for every answer, as
            released, so that gradients and robust accuracy mean little without averaging over passes.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # beta of the authors' code (VGG-16 on CelebA) and of AT-AT's configuration; both draw noise in evaluation too.
        "paper": {"beta": 0.003, "deployed": "sample"},
        "atat-paper": {"beta": 0.03, "deployed": "sample"},
    }

    beta: Annotated[float, Ge(0)] = 0.003
    bottleneck: Annotated[int | None, Ge(1)] = None
    deployed: Literal["mean", "sample"] = "mean"

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put the bottleneck in the place of the linear head.

        Raises:
            UsageError: if the head is not a linear layer any more.
        """
        if not isinstance(classifier.head, nn.Linear):
            raise UsageError("mid replaces a linear head, and this one is not: combine it with no other head defense.")
        features = classifier.feature_dim
        bottleneck = self.bottleneck or max(1, features // 2)
        classifier.replace_head(VibHead(features, bottleneck, classifier.num_classes, sample=self.deployed == "sample"))
        return classifier

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the loss of one forward pass, with the divergence and the noise of the bottleneck."""
        outputs = model.outputs(x_BCHW)
        loss = self.loss(outputs, y_B, ctx)
        kl = outputs.extra["kl"].detach()
        share = self.beta * kl / loss.detach()
        return Step(loss, {"kl": kl, "kl_share": share, "noise_ratio": outputs.extra["noise_ratio"]})

    def loss(self, outputs: Outputs, y_B: Tensor, ctx: TrainContext) -> Tensor:
        """Return cross-entropy, auxiliary heads included, plus the weighted divergence; scalar."""
        return loss_of(outputs, y_B) + self.beta * outputs.extra["kl"]

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff beta is not 0 and, in the last epoch, noise was at least ``NOISE_FROM`` of the signal."""
        first, last = (ctx.history[0], ctx.history[-1]) if ctx.history else ({}, {})
        names = ("kl", "kl_share", "noise_ratio")
        signals = {name: last.get(name, math.nan) for name in names} | {"kl_first": first.get("kl", math.nan)}
        noise = signals["noise_ratio"]
        reason = (
            f"last epoch: noise {noise:.3g} of the spread of mu (active from {NOISE_FROM}), KL {signals['kl']:.3g}"
            f" (first epoch {signals['kl_first']:.3g}), {signals['kl_share']:.1%} of the loss; beta {self.beta:g}"
        )
        return SelfCheck(self.beta > 0 and math.isfinite(signals["kl"]) and noise >= NOISE_FROM, signals, reason)


class VibHead(nn.Module):
    """Features (B, D) to logits (B, K) through Z noisy dimensions; always noisy in training.

    After a pass, ``extra`` holds the mean divergence ``kl`` (with its gradient in training) and ``noise_ratio``, the
    root mean square of sigma over that of the spread of mu in the batch.

    Args:
        features: D.
        bottleneck: Z.
        num_classes: K.
        sample: draw noise in evaluation too.
    """

    def __init__(self, features: int, bottleneck: int, num_classes: int, *, sample: bool) -> None:
        super().__init__()
        self.encode = nn.Linear(features, 2 * bottleneck)
        self.classify = nn.Linear(bottleneck, num_classes)
        self.sample = sample
        self.extra: dict[str, Tensor] = {}

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return logits (B, K)."""
        mu_BZ, s_BZ = self.encode(features_BD).chunk(2, dim=1)
        sigma_BZ = softplus(s_BZ - 5).clamp(min=SMALLEST_SIGMA)
        kl = divergence(mu_BZ, sigma_BZ).mean()
        # A graph that outlives the pass would keep its activations in memory and the network from being copied.
        self.extra = {"kl": kl if self.training else kl.detach(), "noise_ratio": _noise_ratio(mu_BZ, sigma_BZ)}
        z_BZ = mu_BZ + sigma_BZ * torch.randn_like(sigma_BZ) if self.training or self.sample else mu_BZ
        logits_BK: Tensor = self.classify(z_BZ)
        return logits_BK


def divergence(mu_BZ: Tensor, sigma_BZ: Tensor) -> Tensor:
    """Return KL(N(mu, sigma^2) || N(0, 1)) in nats, summed over the dimensions; (B,)."""
    return -0.5 * (1 + 2 * sigma_BZ.log() - mu_BZ.square() - sigma_BZ.square()).sum(1)


@torch.no_grad()
def _noise_ratio(mu_BZ: Tensor, sigma_BZ: Tensor) -> Tensor:
    spread = mu_BZ.var(0, correction=0).mean().clamp(min=SMALLEST_SIGMA**2)
    return (sigma_BZ.square().mean() / spread).sqrt()
