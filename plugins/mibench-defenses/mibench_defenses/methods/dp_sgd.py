"""DP-SGD: training under differential privacy.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from mibench.api import Classifier, Defense, SelfCheck, Step, TrainContext, UsageError
from mibench_defenses.parts.budget import LEAST_NOISE, epsilon_of, noise_for, sample_rate
from mibench_defenses.parts.per_sample import clipped_gradients, group_norms, refuse_mixing, refuse_unsupported


@dataclass(frozen=True, kw_only=True)
class DpSgd(Defense):
    """Step along (sum over the batch of g_i * min(1, C / |g_i|) + N(0, (z * C)^2)) / expected batch.

    g_i is the gradient of one image's loss, C ``max_grad_norm``, z ``noise_multiplier``. Every image is in a batch with
    probability q = 1 / ceil(N / batch), independent of the others, so batches differ in size. From z, q and the number
    of steps opacus's Renyi accountant bounds epsilon. BatchNorm, which mixes images, is replaced by GroupNorm.

    Source: Abadi et al., CCS 2016.

    Attributes:
        target_epsilon: budget that the whole training may spend; the noise is then found by bisection. None is off.
        noise_multiplier: z; none is 1, or what target_epsilon needs. 0 clips only and protects nothing.
        max_grad_norm: C, the length to which the gradient of an image is cut.
        delta: probability of a breach that the budget allows; none is 1 / N^1.1 with N training images.
        groups: most groups of a GroupNorm; each takes the greatest common divisor with its channels, as opacus does.
        physical_batch: images whose gradients are held in memory at a time; does not change the result.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The baselines of MID's authors (clipping 1): next to no noise, and no meaningful budget.
        "mid-celeba": {"noise_multiplier": 0.01, "max_grad_norm": 1.0},
        "mid-facescrub": {"noise_multiplier": 0.2, "max_grad_norm": 1.0},
    }

    # Outside of these bounds the accountant divides by zero, overflows, or searches without end.
    target_epsilon: Annotated[float, Gt(0), Le(1e6)] | None = None
    noise_multiplier: Annotated[float, Ge(0), Le(1e6)] | None = None
    max_grad_norm: Annotated[float, Gt(0)] = 1.0
    delta: Annotated[float, Gt(0), Lt(1)] | None = None
    groups: Annotated[int, Ge(1)] = 32
    physical_batch: Annotated[int, Ge(1)] = 16

    def __post_init__(self) -> None:
        if self.target_epsilon is not None and self.noise_multiplier is not None:
            raise UsageError("dp-sgd: set target_epsilon or noise_multiplier, not both.")
        if self.noise_multiplier is not None and 0 < self.noise_multiplier < LEAST_NOISE:
            raise UsageError(f"dp-sgd: expected a noise_multiplier of 0 or from {LEAST_NOISE:g}, got less.")

    def check_recipe(self, *, num_images: int, batch: int, epochs: int) -> None:
        """Refuse a budget that the accountant cannot give for such a training."""
        rate, delta = sample_rate(num_images, batch), self._delta(num_images)
        steps = epochs * round(1 / rate)
        spent = epsilon_of(self._noise(num_images, batch, epochs), rate, steps, delta)
        if spent <= 0:
            asked = (
                "this noise_multiplier" if self.target_epsilon is None else f"target_epsilon {self.target_epsilon:g}"
            )
            raise UsageError(
                f"dp-sgd: for {asked} the accountant's bound of epsilon is {spent:.3g} at delta = {delta:.2g}; no"
                " guarantee has an epsilon of 0 or less. Ask for less noise, or set a smaller delta."
            )

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put GroupNorm in the place of BatchNorm, and refuse what else opacus does."""
        group_norms(classifier, self.groups, ctx.device)
        refuse_unsupported(classifier)
        return classifier

    def batches(
        self, num_images: int, batch: int, rng: torch.Generator, *, drop_last: bool = False
    ) -> Sequence[Tensor]:
        """Draw each step's images by Poisson sampling; a batch may be empty.

        No batch is the rest of another, so ``drop_last`` has nothing to drop, and the accounting stays as it is.
        """
        rate = sample_rate(num_images, batch)
        draws = [torch.rand(num_images, generator=rng, dtype=torch.float64) for _ in range(round(1 / rate))]
        return [(draw_N < rate).nonzero()[:, 0] for draw_N in draws]

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Before the first step: refuse an impossible budget, and a network that mixes images, whoever built it."""
        if ctx.epoch == 0:
            self.check_recipe(num_images=ctx.num_images, batch=ctx.batch, epochs=ctx.epochs)
            refuse_unsupported(model)
            refuse_mixing(model, torch.Size((3, ctx.channels, ctx.size, ctx.size)), ctx.device)

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the mean loss, made to have the clipped gradients' sum over the expected batch as its gradient."""
        clipped, loss_B, length_B = clipped_gradients(model, x_BCHW, y_B, self.max_grad_norm, self.physical_batch)
        named = dict(model.named_parameters())
        linear = torch.stack([(named[name] * sum_).sum() for name, sum_ in clipped.items()]).sum() / expected_batch(ctx)
        count, cut_B = max(1, len(loss_B)), (length_B > self.max_grad_norm).float()
        signals = {"grad_norm": length_B.sum() / count, "clipped": cut_B.sum() / count}
        return Step(loss_B.sum() / count + linear - linear.detach(), signals)

    def on_gradients(self, model: Classifier, ctx: TrainContext) -> None:
        """Add the noise."""
        std = self.noise(ctx) * self.max_grad_norm / expected_batch(ctx)
        rng = torch.Generator(ctx.device).manual_seed(int(torch.randint(2**62, (), generator=ctx.rng)))
        for p in model.parameters():
            if p.requires_grad and std > 0:
                noise = std * torch.randn(p.shape, generator=rng, device=ctx.device).to(p)
                p.grad = noise if p.grad is None else p.grad + noise

    def noise(self, ctx: TrainContext) -> float:
        """Return z."""
        return self._noise(ctx.num_images, ctx.batch, ctx.epochs)

    def _noise(self, num_images: int, batch: int, epochs: int) -> float:
        if self.target_epsilon is None:
            return 1.0 if self.noise_multiplier is None else self.noise_multiplier
        rate = sample_rate(num_images, batch)
        return noise_for(self.target_epsilon, self._delta(num_images), rate, epochs * round(1 / rate))

    def epsilon(self, ctx: TrainContext) -> float:
        """Return the budget that the steps so far have spent."""
        return epsilon_of(
            self.noise(ctx), sample_rate(ctx.num_images, ctx.batch), ctx.step, self._delta(ctx.num_images)
        )

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff there was noise and the budget that was spent is finite."""
        epsilon, noise = self.epsilon(ctx), self.noise(ctx)
        last = ctx.history[-1] if ctx.history else {}
        signals = {"delta": self._delta(ctx.num_images), "noise_multiplier": noise, "clipped": last.get("clipped", 0.0)}
        signals["sample_rate"] = sample_rate(ctx.num_images, ctx.batch)
        signals |= {"epsilon": epsilon} if math.isfinite(epsilon) else {}
        reason = f"epsilon {epsilon:.4g} at delta {signals['delta']:.2g} for one image, after {ctx.step} steps"
        return SelfCheck(ctx.step > 0 and noise > 0 and 0 < epsilon < math.inf, signals, reason)

    def _delta(self, num_images: int) -> float:
        return num_images**-1.1 if self.delta is None else self.delta


def expected_batch(ctx: TrainContext) -> float:
    """Return the mean number of images in a batch."""
    return ctx.num_images * sample_rate(ctx.num_images, ctx.batch)
