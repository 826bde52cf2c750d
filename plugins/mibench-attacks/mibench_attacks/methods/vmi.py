"""Variational Model Inversion (VMI) of Wang et al., NeurIPS 2021: fit a distribution of latents to each class.

Shapes: B samples of a step, I identity layers, L style layers, Z size of the noise, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.optim import SGD

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.latents.flows import kl_to_normal, push, shuffles, start
from mibench_attacks.losses.objectives import ce
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam
from mibench_attacks.selection.robust_rank import by_confidence
from mibench_attacks.views.alignment import averaged

_SMALL: dict[str, Any] = {"steps": 78, "samples": 16, "final": 6, "flows": 4, "hidden": 64}
_SMALL |= {"optimizer": "adam", "lr": 0.01}


class Sampled(NamedTuple):
    """Latents (B, L, W) drawn from q, and the divergence of each of its flows from N(0, I), (I,)."""

    latents_BLW: Tensor
    kl_I: Tensor


@dataclass(frozen=True, kw_only=True)
class VariationalInversion(GradientAttack):
    """Minimise ``E_q[CE(T(G(w)), y)] + gamma * mean over layers of KL(q_l || N(0, I))`` over normalising flows q_l.

    Each identity layer has a flow of its own that maps N(0, I) to noise, which the prior maps to that layer's style;
    the other layers share an ordinary sample of the prior. On priors with one layer that one is the identity layer.
    Delivered are fresh samples of q, not chosen, in the order of the target's confidence.

    Deliberate differences from the released code: float32 instead of float64; every flow has one level of flow steps
    whose coupling has one hidden layer, where the code stacks 3 levels of 10 steps; flows begin as permutations.

    Attributes:
        identity_layers: number of first layers that have a flow.
        flows: flow steps of each flow.
        hidden: hidden units of the additive couplings.
        gamma: weight of the divergence.
        optimizer: 'sgd' with momentum is the paper's; 'adam' gets somewhere in few steps.
        lr: learning rate.
        momentum: of sgd.
        steps: updates; the paper's 31 epochs of 157.
        samples: samples of q in each step, rendered together.
        clip: clamp images to [0, 1] while optimising too; they are always clamped when delivered.
        final: images delivered per class.
        batch: images processed at once after the search; does not change results.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # ours, for 64-pixel priors on two CPU cores
        "small": _SMALL,
    }

    identity_layers: Annotated[int, Ge(1)] = 10
    flows: Annotated[int, Ge(1)] = 10
    hidden: Annotated[int, Ge(1)] = 512
    gamma: Annotated[float, Ge(0)] = 1e-3
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Gt(0)] = 1e-4
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    steps: Annotated[int, Ge(0)] = 31 * 157
    samples: Annotated[int, Ge(1)] = 64
    clip: bool = True
    final: Annotated[int, Ge(1)] = 100
    batch: Annotated[int, Ge(1)] = 50

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> None:
        """Do nothing: classes share nothing."""

    def reconstruct(
        self, label: int, shared: None, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Fit the flows and deliver samples of them."""
        with target.spending() as spent:
            render, rng, where = (
                Renderer(prior, target, ctx.size, ctx.deliver),
                ctx.rng("class", label, "flow"),
                f"class {label}",
            )
            layers = min(self.identity_layers, prior.latent_layers)
            order_FZ = shuffles(self.flows, prior.noise_size, rng).to(ctx.device)
            begin = [tensor.to(ctx.device) for tensor in start(layers, self.flows, prior.noise_size, self.hidden, rng)]
            y_B = torch.full((self.samples,), label, device=ctx.device)

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                noise = ctx.rng("class", label, "samples", step)
                latents_BLW, kl_I = _sample(variables, order_FZ, prior, self.samples, noise)
                x_BCSS = render(latents_BLW, clamp=self.clip)
                align = ctx.rng("class", label, "align", step)
                copies = self.alignment.draw(self.samples, ctx.channels, ctx.size, align)
                ce_B = averaged(x_BCSS, lambda x: ce(target.logits(x), y_B), copies)
                return (ce_B.mean() + self.gamma * kl_I.mean())[None]

            found = self._search().run(begin, loss, where=where, report=ctx.progress)
            with torch.no_grad():
                noise = ctx.rng("class", label, "deliver")
                latents_MLW = _sample(found.variables, order_FZ, prior, self.final, noise).latents_BLW
            images_MCSS = render.deliver(latents_MLW, batch=self.batch)
            ranking = by_confidence(
                render.seen(images_MCSS), label, target, keep=self.final, batch=self.batch, where=where
            )
        return ClassResult(label, images_MCSS[ranking.index_M], ranking.scores_M, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: per class steps x samples (x copies) and the delivered ones."""
        updates, last = num_classes * self.steps * self.samples, num_classes * self.final
        gradients = updates * self.alignment.copies
        return {"forward": gradients + last, "backward": gradients, "render": updates + last}

    def _search(self) -> GradientSearch:
        sgd = partial(SGD, lr=self.lr, momentum=self.momentum)
        return GradientSearch(steps=self.steps, optimizer=adam(self.lr) if self.optimizer == "adam" else sgd)


def _sample(flows: Sequence[Tensor], order_FZ: Tensor, prior: Prior, n: int, rng: torch.Generator) -> Sampled:
    """Draw latents: the first I layers from the flows, the others from one ordinary sample of the prior."""
    layers = flows[0].shape[1]
    base_BIZ = torch.randn(n, layers, prior.noise_size, generator=rng).to(order_FZ.device)
    z_BIZ, log_determinant_I = push(base_BIZ, flows, order_FZ)
    own_BILW = prior.to_latent(z_BIZ.flatten(0, 1)).unflatten(0, (n, layers))
    identity = [own_BILW[:, layer, layer : layer + 1] for layer in range(layers)]
    rest_BLW = prior.to_latent(prior.sample(n, rng))[:, layers:]
    return Sampled(torch.cat([*identity, rest_BLW], dim=1), kl_to_normal(base_BIZ, z_BIZ, log_determinant_I))
