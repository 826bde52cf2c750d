"""Short trainings in the tiny world, by the product's own loop and hooks.

Nothing is trained here in a way of its own: what a defense does in ``train_steps`` it does in the stage ``target``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import torch

from mibench.api.classifier import Classifier
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, SelfCheck, TrainContext
from mibench.api.precision import full_precision
from mibench.protocol.schema import Augmentation, Recipe
from mibench.training import hooks
from mibench.training.loop import Training

CPU = torch.device("cpu")
STILL = Augmentation(crop_scale=None, flip=0.0)
"""No augmentation."""


class World(Protocol):
    """What a training takes from a tiny world."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def channels(self) -> int:
        """Channels of the images."""

    @property
    def size(self) -> int:
        """Side of the images in pixels."""

    def images(self, part: str = "train") -> ImageSet:
        """Return the images of a part."""

    def classifier(self, *, seed: int = 0) -> Classifier:
        """Return an untrained classifier."""

    def context(self, *, seed: int = 0) -> TrainContext:
        """Return a context, whose ``start`` holds what comes before the training."""


@dataclass
class Trained:
    """The outcome of a short training.

    Attributes:
        model: the trained network.
        deployed: what the defense deploys, in evaluation mode; it may share its weights with ``model``.
        ctx: the context at the end, with the history of signals.
        verdict: what the defense says of itself.
    """

    model: Classifier
    deployed: Classifier
    ctx: TrainContext
    verdict: SelfCheck


class Interrupted(BaseException):
    """The end of a training that a contract cuts short; nothing of a stage's own catches it."""


def tiny_recipe(*, epochs: int = 2, batch: int = 8, lr: float = 0.05) -> Recipe:
    """Return descent with momentum 0.9 at a constant rate, without augmentation."""
    return Recipe(epochs=epochs, batch=batch, lr=lr, optimizer="sgd", milestones=(), augmentation=STILL)


def tiny_task(world: World, seed: int) -> hooks.Task:
    """Return what there is to learn in a tiny world."""
    return hooks.Task(
        num_classes=world.classes,
        channels=world.channels,
        size=world.size,
        train_size=len(world.images()),
        seed=seed,
        device=CPU,
        start=world.context(seed=seed).start,
    )


def train_steps(
    defense: Defense,
    world: World,
    *,
    epochs: int = 2,
    batch: int = 8,
    lr: float = 0.05,
    seed: int = 0,
    interrupt: int | None = None,
) -> Trained:
    """Train a defense on the training images of a tiny world, by gradient descent with momentum 0.9.

    Args:
        defense: what to train.
        world: where.
        epochs: passes over the data.
        batch: images per step.
        lr: learning rate.
        seed: of the weights and of all draws.
        interrupt: the training is cut short in the epoch after so many; everything is built anew and goes on from the
            checkpoint that lies on disk then.
    """
    recipe = tiny_recipe(epochs=epochs, batch=batch, lr=lr)
    with full_precision(), TemporaryDirectory() as work:
        if interrupt is not None:
            _cut_short(_begin(defense, world, recipe, seed, Path(work)), interrupt)
        training = _begin(defense, world, recipe, seed, Path(work))
        if not training.restore():
            raise AssertionError("a checkpoint does not fit the training that wrote it; the log says why")
        training.run(lambda *_: None)
        model, ctx = training.model, training.ctx
        hooks.finish(defense, model, training.train, ctx, seed)
        verdict = hooks.self_check(defense, model, ctx, seed)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        deployed = hooks.deploy(defense, model, ctx, seed)
        for parameter in trainable:  # as the training left them, for those who look at the trained network
            parameter.requires_grad_(True)
        return Trained(model, deployed, ctx, verdict)


def _begin(defense: Defense, world: World, recipe: Recipe, seed: int, work: Path) -> Training:
    task = tiny_task(world, seed)
    model, _, ctx = hooks.build(lambda: defense, lambda: world.classifier(seed=seed), recipe, task)
    return Training(model, defense, recipe, world.images(), ctx, seed=seed, work=work)


def _cut_short(training: Training, epochs: int) -> None:
    """Train with a checkpoint after every epoch, and stop before the one after epoch ``epochs`` is written."""
    training.checkpoint_seconds = -1.0
    try:
        training.run(stop_after(epochs))
    except Interrupted:
        return


def stop_after(steps: int) -> Callable[[int, int, str, Mapping[str, float]], None]:
    """Return a progress function that interrupts work whose first so many parts are safe in checkpoints."""

    def progress(done: int, total: int, unit: str, signals: Mapping[str, float]) -> None:
        if done > steps:
            raise Interrupted

    return progress
