"""A training loop small enough to step a defense in a test. The real loop, with recipes and resuming, is the core's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, TrainContext, Transform
from mibench.api.rng import generator, seeded

if TYPE_CHECKING:
    from mibench.testing.tiny_world import TinyWorld


@dataclass
class Trained:
    """The outcome of a short training.

    Attributes:
        model: the trained network, in training mode.
        deployed: what the defense deploys, in evaluation mode.
        ctx: the context at the end, with the history of signals.
    """

    model: Classifier
    deployed: Classifier
    ctx: TrainContext


class Descent:
    """Gradient descent with momentum 0.9, written out: ``torch.optim`` imports the compiler, which takes seconds.

    Args:
        parameters: what to update.
        lr: learning rate.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        self.parameters, self.lr = parameters, lr
        self.velocities = [torch.zeros_like(parameter) for parameter in parameters]

    def forget_gradients(self) -> None:
        """Drop the gradients of the last step."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter that has a gradient."""
        for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
            if parameter.grad is not None:
                velocity.mul_(0.9).add_(parameter.grad)
                parameter.sub_(self.lr * velocity)


def train_steps(
    defense: Defense, world: TinyWorld, *, epochs: int = 2, batch: int = 8, lr: float = 0.05, seed: int = 0
) -> Trained:
    """Train a defense on the training images of a tiny world, by gradient descent with momentum 0.9.

    Data order, the defense's generator and torch's global generator during a step are derived from the seed and the
    step, so the result depends on the arguments alone.

    Args:
        defense: what to train.
        world: where.
        epochs: passes over the data.
        batch: images per step; the rest of an epoch is dropped.
        lr: learning rate.
        seed: of the weights and of all draws.
    """
    ctx = world.context(epochs=epochs, seed=seed)
    with seeded("tiny build", seed):
        model = defense.build(world.classifier(seed=seed), ctx).train()
        data = defense.train_dataset(world.images(), ctx)
        transform = defense.train_transform(lambda x_BCHW: x_BCHW, ctx)
        descent = Descent(list(defense.parameters(model, ctx)), lr)
    ctx.steps_per_epoch = len(data) // batch
    for ctx.epoch in range(epochs):
        defense.on_epoch_start(model.train(), ctx)
        signals = [
            _step(defense, model, descent, batch_of, data, transform, ctx, seed)
            for batch_of in _batches(len(data), batch, generator("tiny data order", seed, ctx.epoch))
        ]
        ctx.history.append({name: fmean(row[name] for row in signals) for name in signals[0]})
        defense.on_epoch_end(model, ctx)
    deployed = defense.inference(model, ctx)
    return Trained(model, deployed.eval(), ctx)


def _batches(n: int, batch: int, rng: torch.Generator) -> list[Tensor]:
    return [part for part in torch.split(torch.randperm(n, generator=rng), batch) if len(part) == batch]


def _step(
    defense: Defense,
    model: Classifier,
    descent: Descent,
    indices_B: Tensor,
    data: ImageSet,
    transform: Transform,
    ctx: TrainContext,
    seed: int,
) -> Mapping[str, float]:
    ctx.rng = generator("tiny defense", seed, ctx.step)
    descent.forget_gradients()
    with seeded("tiny step", seed, ctx.step):
        step = defense.training_step(model, transform(data.images(indices_B)), data.labels_N[indices_B], ctx)
        step.loss.backward()
    descent.step()
    defense.on_step_end(model, ctx)
    ctx.step += 1
    return {"loss": float(step.loss.detach()), **{name: float(value) for name, value in step.signals.items()}}
