"""DeepInversion of Yin et al., CVPR 2020: optimise pixels under the target's own BatchNorm statistics, without a prior.

Shapes: M images of a batch, C channels, S = protocol's side; the search has one candidate, the batch (1, M, C, S, S).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import Access, Attack, AttackContext, ClassResult, FlatNames, Prior, TargetView
from mibench_attacks.losses.deep_inversion import DeepInversionObjective
from mibench_attacks.search.gradient_search import Found, GradientSearch
from mibench_attacks.search.optimisers import adam, cosine
from mibench_attacks.selection.confidence import MostConfident

# ours, for two CPU cores; weights and rates are those of ImageNet
_SMALL: dict[str, Any] = {"images": 12, "final": 6, "steps": 100, "coarse_steps": 0, "jitter": 4}


@dataclass(frozen=True, kw_only=True)
class CoarseToFine:
    """Adam on one batch of pixels, at first for images of half the side.

    Attributes:
        images: images optimised together per class.
        steps: updates at full size.
        coarse_steps: updates before that, of which the target sees the images at half their side.
        lr: learning rate of Adam at the start of each of both stages; it falls along half a cosine.
        betas: Adam's averages.
    """

    images: Annotated[int, Ge(1)] = 84
    steps: Annotated[int, Ge(1)] = 1000
    coarse_steps: Annotated[int, Ge(0)] = 2000
    lr: Annotated[float, Gt(0)] = 0.25
    betas: tuple[float, float] = (0.5, 0.9)

    def stage(self, shrink: int) -> GradientSearch:
        """Return the search loop of the stage whose images are smaller by ``shrink``."""
        steps = self.coarse_steps if shrink > 1 else self.steps
        optimizer = adam(self.lr, self.betas)
        return GradientSearch(steps=steps, optimizer=optimizer, schedule=cosine, keep="last" if shrink > 1 else "best")


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
        search: of pixels.
        objective: the loss.
        selection: what is delivered.

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

    search: Annotated[CoarseToFine, FlatNames()] = CoarseToFine()
    objective: Annotated[DeepInversionObjective, FlatNames()] = DeepInversionObjective()
    selection: Annotated[MostConfident, FlatNames()] = MostConfident(final=84)

    def __post_init__(self) -> None:
        self.selection.check(self.search.images, attack="deep-inversion", name="images")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> None:
        """Do nothing: classes share nothing."""

    def reconstruct(
        self, label: int, shared: None, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Optimise from noise, at half size first if asked for, and deliver the batch of lowest loss."""
        with target.spending() as spent:
            shape = (1, self.search.images, ctx.channels, ctx.size, ctx.size)
            noise = torch.randn(shape, generator=ctx.rng("class", label, "noise")).to(ctx.device)
            coarse = self._descend(self.objective.clamped(noise), 2, label, target, ctx)
            found = self._descend(coarse.variables[0], 1, label, target, ctx)
            images_MCSS = self.objective.pixels(found.variables[0][0]).clamp(0, 1)
            chosen = self.selection.choose(images_MCSS, images_MCSS, label, target, batch=self.search.images)
        trace = {name: coarse.trace[name] + found.trace[name] for name in found.trace}
        return ClassResult(label, *chosen, spent, trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: per class images x (steps of both stages + 1); nothing is rendered."""
        images = num_classes * self.search.images
        gradients = images * (self.search.steps + self.search.coarse_steps)
        return {"forward": gradients + images, "backward": gradients, "render": 0}

    def _descend(self, start_1MCSS: Tensor, shrink: int, label: int, target: TargetView, ctx: AttackContext) -> Found:
        def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            u_MCSS = self.objective.moved(variables[0][0], ctx.rng("class", label, "view", shrink, step))
            return self.objective.loss(u_MCSS, label, target, shrink=shrink)[None]

        def project(variables: Sequence[Tensor]) -> None:
            variables[0].copy_(self.objective.clamped(variables[0]))

        search = self.search.stage(shrink)
        return search.run([start_1MCSS], loss, where=f"class {label}", project=project, report=ctx.progress)
