"""Random labels: a network that can only memorise.

Shapes: N training images, B of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from mibench.api import Classifier, Defense, ImageSet, SelfCheck, TrainContext, evaluating, generator


@dataclass(frozen=True, kw_only=True)
class RandomLabels(Defense):
    """Plain training on y'_i = y_p(i), with p a random permutation of the training images; class counts stay.

    A control, not a defense to deploy: images and classes have nothing to do with each other, so what the network
    knows of a class is memorised, and its accuracy on new images falls to chance (about 1/K). Attack accuracy and
    re-identification ask for the true person and mean nothing here; compare with the images that were assigned to a
    class (``labels`` among the target's saved tensors). Augmentation and weight decay slow memorisation down.

    Source: Zhang et al., ICLR 2017; as an inversion experiment: Torp, Smith and Breuer, ICLR 2026.

    Attributes:
        share: share of the training images whose labels are permuted among themselves, [0, 1].
        seed: seed of the permutation.
        follow_seed: derive the permutation from the seed of the training as well, so that every seed has its own.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"share": 1.0, "seed": 42, "follow_seed": False}}

    share: Annotated[float, Ge(0), Le(1)] = 1.0
    seed: Annotated[int, Ge(0)] = 42
    follow_seed: bool = False

    def train_dataset(self, data: ImageSet, ctx: TrainContext) -> ImageSet:
        """Relabel the training images; the same again when a training is resumed."""
        own = ctx.rng.initial_seed() if self.follow_seed else 0
        labels_N = permuted(data.labels_N, self.share, generator("random-labels", self.seed, own))
        ctx.extras["labels"] = labels_N
        ctx.extras["moved"] = (labels_N != data.labels_N).float().mean()
        return data.relabel(labels_N)

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Measure the accuracy on the labels that were trained, in evaluation mode and without augmentation."""
        labels_N = ctx.extras["labels"]
        with evaluating(model), torch.no_grad():
            predicted_N = torch.cat(
                [
                    model(data.images(indices_B).to(ctx.device)).argmax(1).cpu()
                    for indices_B in torch.arange(len(data)).split(256)
                ]
            )
        ctx.extras["memorised"] = (predicted_N == labels_N).float().mean()

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff a label differs from the truth; says how much of the training set was memorised."""
        moved, memorised = (float(ctx.extras.get(name, 0.0)) for name in ("moved", "memorised"))
        reason = f"{moved:.3f} of the labels differ from the truth; accuracy on the trained labels {memorised:.3f}"
        return SelfCheck(moved > 0, {"moved": moved, "memorised": memorised}, reason)


def permuted(labels_N: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Return labels of which a random share is permuted among itself; some land on their own class by chance.

    Args:
        labels_N: true labels.
        share: share of the labels that take part, [0, 1].
        rng: CPU generator.
    """
    chosen = torch.randperm(len(labels_N), generator=rng)[: round(share * len(labels_N))]
    mixed_N = labels_N.clone()
    mixed_N[chosen] = labels_N[chosen[torch.randperm(len(chosen), generator=rng)]]
    return mixed_N
