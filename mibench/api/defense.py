"""The defense contract. The training loop belongs to the core; a defense changes what it must and nothing else.

Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mibench.api.classifier import Classifier, Outputs
from mibench.api.data import ImageSet
from mibench.api.deprecated import module_getattr
from mibench.api.errors import UsageError
from mibench.api.precision import full_precision

Transform = Callable[[Tensor], Tensor]
"""Maps a batch (B, C, H, W) in [0, 1] to another; called with torch's global generator seeded per step."""


@dataclass
class Step:
    """The result of a training step.

    Attributes:
        loss: scalar to minimise.
        signals: named scalars to log, averaged over the epoch.
    """

    loss: Tensor
    signals: Mapping[str, float | Tensor] = field(default_factory=dict)


@dataclass
class SelfCheck:
    """Whether a defense did what it is meant to do during training.

    Attributes:
        active: false if the defense's own signal stayed off; the record is then flagged ``defense inactive``.
        signals: the numbers behind the verdict.
        reason: one line for people.
    """

    active: bool = True
    signals: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class WarmStart:
    """A training that comes before a defense's own, made once and shared by all that start from it.

    Attributes:
        images: ``"public"`` trains a plain network on the public identities, whose weights, but for the head, the
            network has when ``build`` is called; ``"private"`` trains on the same images with ``defense``.
        defense: for ``"private"``, the same component with other parameters.
    """

    images: Literal["public", "private"]
    defense: Defense | None = None


@dataclass
class TrainContext:
    """What a defense may use while it trains.

    Attributes:
        num_classes: K.
        channels: channels of the images.
        size: side of the images in pixels.
        epochs: number of epochs of the recipe.
        steps_per_epoch: optimiser steps of an epoch.
        epoch: current epoch, from 0.
        step: current step, from 0 over all epochs.
        device: where the network lives.
        rng: the defense's own CPU generator, re-derived at every step, so that it never shifts data order.
        extras: state beside the network (triggers, masks, discriminators, their optimisers): tensors or objects with
            ``state_dict``; saved in checkpoints. Tensors, and weights of modules as ``name.parameter``, are in the
            target artifact too and are here again when ``inference`` is called on a loaded target.
        history: per-epoch means of all signals so far.
        batch: images per optimiser step.
        num_images: training images.
        start: weights and extras of the training that ``Defense.starts_from`` names; ``None`` without one, and when a
            trained target is loaded.
        lr: learning rate of the current epoch.
        new_optimizer: makes an optimiser like the recipe's, for networks that a defense trains beside the target.
    """

    num_classes: int
    channels: int
    size: int
    epochs: int
    steps_per_epoch: int
    device: torch.device
    rng: torch.Generator
    epoch: int = 0
    step: int = 0
    extras: MutableMapping[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    batch: int = 1
    num_images: int = 1
    start: Mapping[str, Tensor] | None = None
    lr: float = 1e-3
    new_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = torch.optim.Adam

    def full_precision(self) -> AbstractContextManager[None]:
        """Switch off autocast and TF32, which swallow small perturbations."""
        return full_precision()


def loss_of(outputs: Outputs, y_B: Tensor, loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy) -> Tensor:
    """Apply a loss to the logits and to auxiliary heads with their weights; scalar."""
    total = loss(outputs.logits, y_B)
    for logits, weight in outputs.aux:
        total = total + weight * loss(logits, y_B)
    return total


class Defense:
    """Base of all defenses: plain training. Subclass as a frozen, keyword-only dataclass and override what differs.

    Attributes:
        presets: named parameter sets; one called like a protocol is that protocol's default for this defense.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    def starts_from(self) -> WarmStart | None:
        """Return the training that this one needs before it (default: none)."""
        return None

    def cost(self) -> float:
        """Return the cost of a training step in units of plain training's (default: 1).

        Counted in network passes: forward 1, backward to the input 1, backward to the weights 2; plain training is 3.
        """
        return 1.0

    def check_recipe(self, *, num_images: int, batch: int, epochs: int) -> None:
        """Refuse, while a run is planned, what cannot work (default: nothing).

        Args:
            num_images: training images, before ``train_dataset``.
            batch: images per step.
            epochs: passes over them.

        Raises:
            UsageError: saying which parameter to change.
        """

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Change the architecture before training (default: leave it)."""
        return classifier

    def train_transform(self, base: Transform, ctx: TrainContext) -> Transform:
        """Change the augmentation (default: the recipe's)."""
        return base

    def train_dataset(self, data: ImageSet, ctx: TrainContext) -> ImageSet:
        """Change the training data (default: leave it)."""
        return data

    def batches(
        self, num_images: int, batch: int, rng: torch.Generator, *, drop_last: bool = False
    ) -> Sequence[Tensor]:
        """Return the indices of each step of an epoch (default: every image once, in random order).

        Args:
            num_images: training images.
            batch: images per step.
            rng: CPU generator of the epoch's order.
            drop_last: leave out a last batch that is not full. Only given where the recipe says so.
        """
        chunks = list(torch.randperm(num_images, generator=rng).split(batch))
        if drop_last:
            return [chunk for chunk in chunks if len(chunk) == batch]
        # A last batch of one image would break BatchNorm; it joins the batch before.
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return chunks

    def labelled_batches(
        self, labels_N: Tensor, batch: int, rng: torch.Generator, *, drop_last: bool = False
    ) -> Sequence[Tensor]:
        """Return the indices of each step of an epoch, chosen with the labels in view (default: ``batches``).

        The loop calls this one. Override it only where a batch depends on classes, else ``batches``.

        Args:
            labels_N: class of each training image.
            batch: images per step.
            rng: CPU generator of the epoch's order.
            drop_last: as of ``batches``.
        """
        return draw_batches(self, len(labels_N), batch, rng, drop_last=drop_last)

    def parameters(self, model: Classifier, ctx: TrainContext) -> Iterable[nn.Parameter]:
        """Return what the optimiser updates (default: everything that requires a gradient)."""
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Return the loss of one batch (default: ``loss`` of one forward pass)."""
        return Step(self.loss(model.outputs(x_BCHW), y_B, ctx))

    def loss(self, outputs: Outputs, y_B: Tensor, ctx: TrainContext) -> Tensor:
        """Return the scalar loss of a forward pass (default: cross-entropy, auxiliary heads included)."""
        return loss_of(outputs, y_B)

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Called before each epoch, in training mode."""

    def on_gradients(self, model: Classifier, ctx: TrainContext) -> None:
        """Called between the backward pass and the optimiser step, to change gradients."""

    def on_step_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Called after each optimiser step."""

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Called after each epoch."""

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Called once after the last epoch, to fit what is deployed around the network.

        ``data`` are the training images without augmentation, as ``train_dataset`` returned them.

        What it leaves in ``ctx.extras`` is saved with the target.
        """

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        """Return what is deployed and attacked (default: the trained classifier)."""
        return model

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Tell from the history whether the defense was active (default: always)."""
        return SelfCheck()


def draw_batches(
    defense: Defense, num_images: int, batch: int, rng: torch.Generator, *, drop_last: bool
) -> Sequence[Tensor]:
    """Return ``defense.batches``; ``drop_last`` is only handed on where it is set.

    Raises:
        UsageError: if it is set and the defense draws batches without knowing it, or if no batch is left.
    """
    if not drop_last:
        return defense.batches(num_images, batch, rng)
    if "drop_last" not in signature(defense.batches).parameters:
        raise UsageError(
            f"the recipe sets drop_last, and {type(defense).__name__}.batches does not take it; give it the keyword"
            " drop_last, or leave drop_last out of the recipe"
        )
    chunks = defense.batches(num_images, batch, rng, drop_last=True)
    if not chunks:
        raise UsageError(f"drop_last drops all of {num_images} training images, for the recipe's batch is {batch}")
    return chunks


if not TYPE_CHECKING:
    __getattr__ = module_getattr(__name__, globals())
