"""Prediction purification: an autoencoder between the network's confidences and whoever asks.

Shapes: N training confidences, B images or confidences of a batch, C channels, H = W pixels, K classes, Z latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, nll_loss

from mibench.api import (
    Classifier,
    Defense,
    FlatNames,
    ImageSet,
    Outputs,
    SelfCheck,
    TrainContext,
    evaluating,
    generator,
)
from mibench_defenses.parts.confidence_vae import Autoencoder, ConfidencePurifier, divergence, swap_top
from mibench_defenses.parts.wrapping import WrappedClassifier, compare, draw_seed, keep_signals, verdict


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How the purifier is fitted.

    Attributes:
        beta: weight of the divergence of the latent; only with ``cvae``.
        label_weight: weight of the cross-entropy with the network's own prediction.
        reference: fit on disturbed views of the training images (mirrored, cropped) or on the images themselves.
        views: views of each image; without "augmented" all would be the same, so 1.
        epochs: passes over the reference confidences.
        batch: confidences per step.
        lr: learning rate of Adam.
    """

    beta: Annotated[float, Ge(0)] = 0.01
    label_weight: Annotated[float, Ge(0)] = 0.1
    reference: Literal["augmented", "train"] = "augmented"
    views: Annotated[int, Ge(1)] = 2
    epochs: Annotated[int, Ge(0)] = 50
    batch: Annotated[int, Ge(1)] = 64
    lr: Annotated[float, Gt(0)] = 1e-3


@dataclass(frozen=True, kw_only=True)
class Purifier(Defense):
    """Train as usual; deploy log G(softmax f(x)), with G an autoencoder that learnt what confidences usually look like.

    G minimises |G(p) - p|^2 - label_weight * log G(p)[argmax p] + beta * KL(latent || N(0, I)) on reference
    confidences p. Its narrow latent loses what is particular to one image, which attackers with scores live on.
    One who asks for labels only learns nothing less, and one with the weights reads f's own answers.

    Both papers fit G on reference images that the network never saw. Here only training images exist, so G is fitted on
    disturbed views of them: less sharp than members' confidences, but not those of strangers. Neither the adversarial
    part of the first paper nor the label swapper of the second is here. In a composition G is fitted on the trained
    network alone, whatever other parts deploy around it.

    Source: Yang et al., AAAI 2023 (conditional VAE); Yang et al., 2020, arXiv 2005.03915 (autoencoder). The terms of
    the loss are restated from memory; sizes, weights and views are this implementation's own.

    Attributes:
        keep_label: "loss" leaves it to the loss; "swap" also exchanges two confidences where the prediction differs.
        autoencoder: G.
        fit: how G is fitted.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cvae": {"cvae": True},  # the kind of network of the AAAI paper
        "autoencoder": {"cvae": False, "latent": 4},  # that of arXiv 2005.03915; its sizes were not found
    }

    keep_label: Literal["loss", "swap"] = "loss"
    autoencoder: Annotated[Autoencoder, FlatNames()] = Autoencoder()
    fit: Annotated[Fit, FlatNames()] = Fit()

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Make the untrained purifier beside the network, which stays as it is."""
        ctx.extras["seed"] = draw_seed(ctx)
        made = ConfidencePurifier(ctx.num_classes, self.autoencoder)
        ctx.extras["purifier"] = made.to(ctx.device)
        return classifier

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Fit the purifier on the trained network's confidences, and measure what it changes."""
        rng = generator("purifier", int(ctx.extras["seed"]))
        p_NK = self.confidences(model, data, ctx, rng)
        purifier: ConfidencePurifier = ctx.extras["purifier"].train()
        optimizer = torch.optim.Adam(purifier.parameters(), lr=self.fit.lr)
        for _ in range(self.fit.epochs):
            for indices_B in torch.randperm(len(p_NK), generator=rng).split(self.fit.batch):
                loss = self.purification_loss(purifier, p_NK[indices_B.to(p_NK.device)], rng)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        keep_signals(compare(model, self.inference(model, ctx), data, ctx), ctx)

    def confidences(self, model: Classifier, data: ImageSet, ctx: TrainContext, rng: torch.Generator) -> Tensor:
        """Return the network's confidences (N, K) on the reference images."""
        found = []
        with evaluating(model), torch.no_grad():
            for _ in range(self.fit.views if self.fit.reference == "augmented" else 1):
                for part_B in torch.arange(len(data)).split(max(1, ctx.batch)):
                    x_BCHW = data.images(part_B).to(ctx.device)
                    x_BCHW = disturb(x_BCHW, rng) if self.fit.reference == "augmented" else x_BCHW
                    found.append(model(x_BCHW).float().softmax(1))
        return torch.cat(found)

    def purification_loss(self, purifier: ConfidencePurifier, p_BK: Tensor, rng: torch.Generator) -> Tensor:
        """Return the scalar loss of one batch of confidences; a variational latent is drawn by the CPU generator."""
        label_B = p_BK.argmax(1)
        mean_BZ, log_var_BZ = purifier.encode(p_BK, label_B)
        noise_BZ = torch.randn(mean_BZ.shape, generator=rng).to(mean_BZ) if self.autoencoder.cvae else 0.0
        log_q_BK = purifier.decode(mean_BZ + (log_var_BZ / 2).exp() * noise_BZ, label_B)
        loss = (log_q_BK.exp() - p_BK).square().sum(1).mean() + self.fit.label_weight * nll_loss(log_q_BK, label_B)
        return loss + self.fit.beta * divergence(mean_BZ, log_var_BZ).mean() if self.autoencoder.cvae else loss

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        """Return a classifier that answers with purified confidences."""
        purifier: ConfidencePurifier = ctx.extras["purifier"]
        if saved := {name[9:]: value for name, value in ctx.extras.items() if name.startswith("purifier.")}:
            purifier.load_state_dict(saved)  # a loaded target
        return PurifiedClassifier(model, purifier, swap=self.keep_label == "swap")

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the purifier moves the answers to training images."""
        return verdict(ctx)


class PurifiedClassifier(WrappedClassifier):
    """Answers with purified confidences; features and stages are the inner classifier's.

    Args:
        inner: whose confidences are purified.
        purifier: maps probabilities to log-probabilities.
        swap: give the largest confidence to the inner classifier's prediction.
    """

    def __init__(self, inner: Classifier, purifier: ConfidencePurifier, *, swap: bool) -> None:
        super().__init__(inner)
        self.purifier, self.swap = purifier, swap

    def outputs(self, x_BCHW: Tensor, *, stages: bool = False) -> Outputs:
        """Run the inner classifier and purify its answer."""
        out = self.inner.outputs(x_BCHW, stages=stages)
        log_q_BK = self.purifier(out.logits.float().softmax(1))
        return replace(out, logits=swap_top(log_q_BK, out.logits.argmax(1)) if self.swap else log_q_BK)


def disturb(x_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror half of the images and crop each to 0.6 to 0.9 of its side, at a random place; scaled back to its size."""
    flip_B, share_B, right_B, down_B = torch.rand(4, len(x_BCHW), generator=rng)
    share_B = 0.6 + 0.3 * share_B
    theta_B23 = torch.zeros(len(x_BCHW), 2, 3)
    theta_B23[:, 0, 0] = share_B * torch.where(flip_B < 0.5, -1.0, 1.0)
    theta_B23[:, 1, 1] = share_B
    theta_B23[:, :, 2] = (torch.stack([right_B, down_B], 1) * 2 - 1) * (1 - share_B)[:, None]
    grid = affine_grid(theta_B23, list(x_BCHW.shape), align_corners=False).to(x_BCHW)
    return grid_sample(x_BCHW, grid, padding_mode="border", align_corners=False)
