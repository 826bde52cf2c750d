"""Variational Model Inversion (VMI) of Wang et al., NeurIPS 2021: fit a distribution of latents to each class.

Shapes: B samples of a step, I identity layers, L style layers, W size of a style vector, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.latents.layer_flows import LayerFlows
from mibench_attacks.losses.objectives import ce
from mibench_attacks.search.flow_search import FlowSearch
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.selection.confidence import MostConfident
from mibench_attacks.views.alignment import averaged

_SMALL: dict[str, Any] = {"steps": 78, "samples": 16, "final": 6, "flows": 4, "hidden": 64}
_SMALL |= {"optimizer": "adam", "lr": 0.01}


@dataclass(frozen=True, kw_only=True)
class VariationalObjective:
    """The expected cross-entropy and the divergence.

    Attributes:
        gamma: weight of the divergence.
        clip: clamp images to [0, 1] while optimising too; they are always clamped when delivered.
    """

    gamma: Annotated[float, Ge(0)] = 1e-3
    clip: bool = True


@dataclass(frozen=True, kw_only=True)
class VariationalInversion(GradientAttack):
    """Minimise ``E_q[CE(T(G(w)), y)] + gamma * mean over layers of KL(q_l || N(0, I))`` over normalising flows q_l.

    Each identity layer has a flow of its own that maps N(0, I) to noise, which the prior maps to that layer's style;
    the other layers share an ordinary sample of the prior. On priors with one layer that one is the identity layer.
    Delivered are fresh samples of q, not chosen, in the order of the target's confidence.

    Deliberate differences from the released code: float32 instead of float64; every flow has one level of flow steps
    whose coupling has one hidden layer, where the code stacks 3 levels of 10 steps; flows begin as permutations.

    Attributes:
        flow: the flows q_l.
        search: descent on their parameters.
        objective: the loss.
        selection: what is delivered.
        batch: images processed at once after the search; does not change results.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # ours, for 64-pixel priors on two CPU cores
        "small": _SMALL,
    }

    flow: Annotated[LayerFlows, FlatNames(layers="identity_layers", steps="flows")] = LayerFlows()
    search: Annotated[FlowSearch, FlatNames()] = FlowSearch()
    objective: Annotated[VariationalObjective, FlatNames()] = VariationalObjective()
    selection: Annotated[MostConfident, FlatNames()] = MostConfident(final=100)
    batch: Annotated[int, Ge(1)] = 50

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> None:
        """Do nothing: classes share nothing."""

    def reconstruct(
        self, label: int, shared: None, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Fit the flows and deliver samples of them."""
        with target.spending() as spent:
            render, samples = Renderer(prior, target, ctx.size, ctx.deliver), self.search.samples
            flows = self.flow.begin(prior, ctx.rng("class", label, "flow"), ctx.device)
            y_B = torch.full((samples,), label, device=ctx.device)

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                latents_BLW, kl_I = flows.sample(variables, samples, ctx.rng("class", label, "samples", step))
                x_BCSS = render(latents_BLW, clamp=self.objective.clip)
                align = ctx.rng("class", label, "align", step)
                copies = self.alignment.draw(samples, ctx.channels, ctx.size, align)
                ce_B = averaged(x_BCSS, lambda x: ce(target.logits(x), y_B), copies)
                return (ce_B.mean() + self.objective.gamma * kl_I.mean())[None]

            found = self.search.descent().run(flows.start, loss, where=f"class {label}", report=ctx.progress)
            with torch.no_grad():
                rng = ctx.rng("class", label, "deliver")
                latents_MLW = flows.sample(found.variables, self.selection.final, rng).latents_BLW
            images_MCDD = render.deliver(latents_MLW, batch=self.batch)
            chosen = self.selection.choose(images_MCDD, render.seen(images_MCDD), label, target, batch=self.batch)
        return ClassResult(label, *chosen, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: per class steps x samples (x copies) and the delivered ones."""
        updates, last = num_classes * self.search.steps * self.search.samples, num_classes * self.selection.final
        gradients = updates * self.alignment.copies
        return {"forward": gradients + last, "backward": gradients, "render": updates + last}
