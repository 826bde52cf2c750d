"""What is asked of a defense once: its network before a training, and what follows it. Each hook has draws of its own.

The hooks that the loop itself calls are seeded there (``mibench.training.loop``); together these two modules are all
that ever calls a defense while a classifier is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mibench.api.classifier import Classifier, freeze
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, SelfCheck, TrainContext
from mibench.api.rng import generator, seeded
from mibench.protocol.schema import Recipe
from mibench.training.optimiser import make_optimizer


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learned.

    Attributes:
        num_classes: K.
        channels: channels of the images.
        size: side of the images in pixels.
        train_size: training images.
        seed: of the training.
        device: where to compute.
        start: weights and extras of a training that comes before.
    """

    num_classes: int
    channels: int
    size: int
    train_size: int
    seed: int
    device: torch.device
    start: Mapping[str, Tensor] | None = None


def build(
    defense: Callable[[], Defense], plain: Callable[[], Classifier], recipe: Recipe, task: Task
) -> tuple[Classifier, Defense, TrainContext]:
    """Make the untrained, defended network, its defense and the context of its training.

    Args:
        defense: makes the defense.
        plain: makes the network without it, on the CPU; its initialisation may draw from global generators.
        recipe: of the training.
        task: what is to be learned.
    """
    ctx = _context(recipe, task)
    with seeded(task.seed, "defense"):
        made = defense()
    with seeded(task.seed, "init"):
        model = made.build(plain().to(task.device), ctx)
    return model.to(task.device), made, ctx


def _context(recipe: Recipe, task: Task) -> TrainContext:
    whole, rest = divmod(task.train_size, recipe.batch)
    return TrainContext(
        num_classes=task.num_classes,
        channels=task.channels,
        size=task.size,
        epochs=recipe.epochs,
        steps_per_epoch=max(1, whole) if recipe.drop_last else whole + bool(rest),
        device=task.device,
        rng=generator(task.seed, "defense", "build"),
        batch=recipe.batch,
        num_images=task.train_size,
        start=task.start,
        lr=recipe.lr,
        new_optimizer=lambda parameters: make_optimizer(recipe, parameters),
    )


def finish(defense: Defense, model: Classifier, data: ImageSet, ctx: TrainContext, seed: int) -> None:
    """Let a defense fit what it deploys around the trained network."""
    with seeded(seed, "finish"):
        defense.finish(model, data, ctx)


def self_check(defense: Defense, model: Classifier, ctx: TrainContext, seed: int) -> SelfCheck:
    """Return a defense's own verdict."""
    with seeded(seed, "self check"):
        return defense.self_check(model, ctx)


def deploy(defense: Defense, model: Classifier, ctx: TrainContext, seed: int) -> Classifier:
    """Return what is deployed, frozen; whatever the defense draws for it is the same wherever it is loaded."""
    with seeded(seed, "inference"):
        return freeze(defense.inference(model, ctx))
