"""DeepInversion of Yin et al., CVPR 2020: optimise pixels under the target's own BatchNorm statistics, without a prior.

Shapes: M images of a batch, C channels, S = protocol's side; the search has one candidate, the batch (1, M, C, S, S).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mibench.api import Access, Attack, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.losses.objectives import ce
from mibench_attacks.losses.pixel_priors import size, statistics_distance, total_variation
from mibench_attacks.search.gradient_search import Found, GradientSearch
from mibench_attacks.search.optimisers import adam, cosine
from mibench_attacks.selection.robust_rank import by_confidence
from mibench_attacks.views.transforms import hflip

# ours, for two CPU cores; weights and rates are those of ImageNet
_SMALL: dict[str, Any] = {"images": 12, "final": 6, "steps": 100, "coarse_steps": 0, "jitter": 4}


@dataclass(frozen=True, kw_only=True)
class DeepInversion(Attack):
    """Minimise ``CE(T(x), y) + r_feat sum_l c_l (|mu_l(x) - mu_l| + |var_l(x) - var_l|) + a_tv TV(x) + a_l2 |x|``.

    mu_l and var_l are the running statistics of the target's BatchNorm layers, against those of the batch; norms are
    L2; c_l is ``first_bn`` for the first layer and 1 for the others. For a target without BatchNorm the term is absent.
    All images of a class are one batch, whose statistics tie them together; they are jittered and mirrored together.

    The prior is ignored, so recognisable people are not to be expected: this is the floor of attacks that see weights.
    Deliberate differences from the released code: a batch shows one class, so that classes do not depend on each other
    (statistics of a single class differ from those of training, so exact matches are neither reached nor wanted); no
    competition with a student network ("adaptive" DeepInversion). Gradients are not aligned, for there is no manifold.

    Attributes:
        images: images optimised together per class.
        final: images delivered per class, those with the highest target confidence.
        steps: updates at full size.
        coarse_steps: updates before that, of which the target sees the images at half their side.
        lr: learning rate of Adam at the start of each of both stages; it falls along half a cosine.
        betas: Adam's averages.
        r_feat: weight of the BatchNorm statistics.
        first_bn: factor of the first BatchNorm layer.
        a_tv: weight of the total variation.
        a_l2: weight of the norm of an image.
        jitter: images are rolled by up to so many pixels in both directions.
        flip: probability of mirroring in a step.
        unit: pixels are optimised in units of this part of [0, 1], around 0.5. Published rates and weights count in
            the standard deviations by which networks normalise: 0.225 on ImageNet.

    Raises:
        UsageError: unless final <= images.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "imagenet": {},
        # where the paper states ranges (lr, r_feat) these are their lower ends, except for lr on ImageNet;
        # on CIFAR-10 jitter, a_l2 and unit are ours
        "cifar10": {"images": 256, "final": 256, "steps": 2000, "coarse_steps": 0, "lr": 0.05, "r_feat": 10.0,
                    "a_tv": 2.5e-5, "a_l2": 0.0, "jitter": 2, "unit": 0.2},
        "small": _SMALL,
    }  # fmt: skip

    images: Annotated[int, Ge(1)] = 84
    final: Annotated[int, Ge(1)] = 84
    steps: Annotated[int, Ge(1)] = 1000
    coarse_steps: Annotated[int, Ge(0)] = 2000
    lr: Annotated[float, Gt(0)] = 0.25
    betas: tuple[float, float] = (0.5, 0.9)
    r_feat: Annotated[float, Ge(0)] = 0.01
    first_bn: Annotated[float, Ge(0)] = 10.0
    a_tv: Annotated[float, Ge(0)] = 1e-4
    a_l2: Annotated[float, Ge(0)] = 1e-5
    jitter: Annotated[int, Ge(0)] = 30
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    unit: Annotated[float, Gt(0)] = 0.225

    def __post_init__(self) -> None:
        if self.final > self.images:
            raise UsageError(f"attack 'deep-inversion': expected final <= images, got {self.final} > {self.images}")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> None:
        """Do nothing: classes share nothing."""

    def reconstruct(
        self, label: int, shared: None, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Optimise from noise, at half size first if asked for, and deliver the batch of lowest loss."""
        with target.spending() as spent:
            shape = (1, self.images, ctx.channels, ctx.size, ctx.size)
            noise = torch.randn(shape, generator=ctx.rng("class", label, "noise")).to(ctx.device)
            start_1MCSS = noise.clamp(-0.5 / self.unit, 0.5 / self.unit)
            coarse = self._descend(start_1MCSS, 2, self.coarse_steps, label, target, ctx)
            found = self._descend(coarse.variables[0], 1, self.steps, label, target, ctx)
            images_MCSS = (0.5 + self.unit * found.variables[0][0]).clamp(0, 1)
            ranking = by_confidence(
                images_MCSS, label, target, keep=self.final, batch=self.images, where=f"class {label}"
            )
        trace = {name: coarse.trace[name] + found.trace[name] for name in found.trace}
        return ClassResult(label, images_MCSS[ranking.index_M], ranking.scores_M, spent, trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: per class images x (steps of both stages + 1); nothing is rendered."""
        gradients = num_classes * self.images * (self.steps + self.coarse_steps)
        return {"forward": gradients + num_classes * self.images, "backward": gradients, "render": 0}

    def loss(self, u_MCSS: Tensor, label: int, target: TargetView, *, shrink: int = 1) -> Tensor:
        """Return the loss of a batch in units of ``unit`` (scalar), which the target sees smaller by ``shrink``."""
        u_MCSS = avg_pool2d(u_MCSS, shrink) if shrink > 1 else u_MCSS
        y_M = torch.full((len(u_MCSS),), label, device=u_MCSS.device)
        with statistics_distance(target.module()) as distances:
            total = ce(target.logits(0.5 + self.unit * u_MCSS), y_M).mean()
        for position, distance in enumerate(distances):
            total = total + self.r_feat * (self.first_bn if position == 0 else 1.0) * distance
        return total + self.a_tv * total_variation(u_MCSS) + self.a_l2 * size(u_MCSS)

    def _descend(
        self, start_1MCSS: Tensor, shrink: int, steps: int, label: int, target: TargetView, ctx: AttackContext
    ) -> Found:
        def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            rng = ctx.rng("class", label, "view", shrink, step)
            shifts = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=rng).tolist()
            u_MCSS = variables[0][0].roll(shifts, dims=(-2, -1))
            u_MCSS = hflip(u_MCSS) if torch.rand((), generator=rng).item() < self.flip else u_MCSS
            return self.loss(u_MCSS, label, target, shrink=shrink)[None]

        def project(variables: Sequence[Tensor]) -> None:
            variables[0].clamp_(-0.5 / self.unit, 0.5 / self.unit)

        search = GradientSearch(
            steps=steps, optimizer=adam(self.lr, self.betas), schedule=cosine, keep="last" if shrink > 1 else "best"
        )
        return search.run([start_1MCSS], loss, where=f"class {label}", project=project, report=ctx.progress)
