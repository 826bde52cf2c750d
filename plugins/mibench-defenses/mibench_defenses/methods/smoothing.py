"""Randomised smoothing: answer with the average over noisy copies of the image.

Shapes: B images of a batch, N noisy copies of each, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from mibench.api import Classifier, Defense, ImageSet, Outputs, SelfCheck, TrainContext, Transform, generator
from mibench_defenses.parts.wrapping import WrappedClassifier, compare, draw_seed, keep_signals, verdict

Aggregate = Literal["probabilities", "logits", "votes"]
PRIOR_VOTES = 0.5
"""Votes added to each class, so that a class without votes has a finite logarithm."""


@dataclass(frozen=True, kw_only=True)
class Smoothing(Defense):
    """Deploy log of the mean over e_i ~ N(0, sigma^2) of softmax(f(x + e_i)), in place of f(x).

    The answer hardly depends on details of the image that are smaller than the noise, which is what an attacker with
    scores or labels climbs on. It costs N passes per query, and accuracy, unless the network also trains with noise.
    An attacker with the weights attacks f itself, or differentiates through the average.

    Noise is added at the side of the image that comes in, before resizing, and is not cut to [0, 1].
    With a fixed set of noises answers are exact and repeatable; no certificate of robustness follows from them, nor is
    one computed from fresh ones.

    Source: Jin, Zhang, Liu, Zhang and Zou, 2026 (Robust Privacy: smoothing against inversion); smoothing and
    its training: Cohen, Rosenfeld and Kolter, ICML 2019.

    Attributes:
        sigma: standard deviation of the noise on every pixel, [0, 1] units; 0 is plain training.
        copies: noisy copies N per image and query.
        aggregate: mean of the probabilities, mean of the logits, or votes for the predicted class (log of the smoothed
            frequencies; they have no gradient).
        fresh: draw new noises for each image and query; else all images at all times meet the same N noises.
        train_noise: also add noise of the same sigma to the training images, after augmentation.
        chunk: most noisy images in one pass, but at least one copy of the batch; bounds memory where no gradients are
            taken.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The paper's abstract: sigma 0.1. Its number of copies and its aggregation were not found.
        "paper": {"sigma": 0.1},
        # Cohen et al.: one of their noise levels (0.12, 0.25, 0.5, 1), votes, training with noise; fewest votes of
        # their prediction experiments, from memory.
        "cohen": {"sigma": 0.25, "copies": 100, "aggregate": "votes", "fresh": True, "train_noise": True},
    }

    sigma: Annotated[float, Ge(0)] = 0.1
    copies: Annotated[int, Ge(1)] = 16
    aggregate: Aggregate = "probabilities"
    fresh: bool = False
    train_noise: bool = False
    chunk: Annotated[int, Ge(1)] = 512

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Draw the seed of the fixed noises; the network stays as it is."""
        ctx.extras["seed"] = draw_seed(ctx)
        return classifier

    def train_transform(self, base: Transform, ctx: TrainContext) -> Transform:
        """Add noise after the recipe's augmentation, if wanted."""
        if not self.train_noise or self.sigma == 0:
            return base
        return lambda x_BCHW: (augmented := base(x_BCHW)) + self.sigma * torch.randn_like(augmented)

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Compare the smoothed with the plain answers on training images."""
        keep_signals(compare(model, self.inference(model, ctx), data, ctx), ctx)

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        """Return the smoothed classifier, or the plain one without noise."""
        if self.sigma == 0:
            return model
        return SmoothedClassifier(model, self, int(ctx.extras["seed"]))

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff smoothing moves the answers to training images."""
        return verdict(ctx)


class SmoothedClassifier(WrappedClassifier):
    """Averages another classifier over noisy copies of the image.

    Features and stages are the means over the copies too, so one run yields everything; auxiliary logits and extras of
    the head are left out.

    Args:
        inner: what is asked about the copies.
        how: sigma, copies, aggregation, whether noises are fresh (from torch's global generator), and chunk.
        seed: derives the fixed set of noises.
    """

    def __init__(self, inner: Classifier, how: Smoothing, seed: int) -> None:
        super().__init__(inner)
        self.how, self.seed = how, seed
        self._fixed_NCHW = torch.empty(0, 0, 0, 0)

    def outputs(self, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        """Return joined logits, and the means of features and stages."""
        logits, features_BD, kept = [], torch.zeros(()), dict[str, Tensor]()
        for noise_N1CHW in self._noise(x_BCHW):
            noisy = (x_BCHW + self.how.sigma * noise_N1CHW).flatten(0, 1)
            out = self.inner.outputs(noisy, stages=stages)
            split = (len(noise_N1CHW), len(x_BCHW))
            logits.append(out.logits.unflatten(0, split))
            features_BD = features_BD.to(x_BCHW.device) + out.features.unflatten(0, split).sum(0) / self.how.copies
            for name, stage in out.stages.items():
                kept[name] = kept.get(name, 0) + stage.unflatten(0, split).sum(0) / self.how.copies
        return Outputs(join(torch.cat(logits), self.how.aggregate), features_BD, kept)

    def _noise(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        """Yield unit noises (n, 1 or B, C, H, W), n at a time, ``copies`` in all."""
        group = max(1, self.how.chunk // max(1, len(x_BCHW)))
        counts = [min(group, self.how.copies - first) for first in range(0, self.how.copies, group)]
        if self.how.fresh:
            yield from (torch.randn(n, *x_BCHW.shape, device=x_BCHW.device) for n in counts)
            return
        if self._fixed_NCHW.shape[1:] != x_BCHW.shape[1:]:
            rng = generator("smoothing", self.seed)
            self._fixed_NCHW = torch.randn(self.how.copies, *x_BCHW.shape[1:], generator=rng)
        self._fixed_NCHW = self._fixed_NCHW.to(x_BCHW.device)
        yield from self._fixed_NCHW[:, None].split(counts)


def join(logits_NBK: Tensor, aggregate: Aggregate) -> Tensor:
    """Join the answers to N copies into logits (B, K)."""
    copies, _, classes = logits_NBK.shape
    if aggregate == "logits":
        return logits_NBK.mean(0)
    if aggregate == "probabilities":
        return log_softmax(logits_NBK, 2).logsumexp(0) - math.log(copies)
    votes_BK = one_hot(logits_NBK.argmax(2), classes).sum(0).to(logits_NBK.dtype)
    return ((votes_BK + PRIOR_VOTES) / (copies + PRIOR_VOTES * classes)).log()
