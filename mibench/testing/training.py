"""A training loop small enough to step a defense in a test. The real loop, with recipes and resuming, is the core's."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier
from mibench.api.defense import Defense, TrainContext
from mibench.api.extras import pack_extras, unpack_extras
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
    defense: Defense,
    world: TinyWorld,
    *,
    epochs: int = 2,
    batch: int = 8,
    lr: float = 0.05,
    seed: int = 0,
    interrupt: int | None = None,
) -> Trained:
    """Train a defense on the training images of a tiny world, by gradient descent with momentum 0.9.

    Data order, the defense's generator and torch's global generator during a step are derived from the seed and the
    step, so the result depends on the arguments alone.

    Args:
        defense: what to train.
        world: where.
        epochs: passes over the data.
        batch: images per step; by default the rest of an epoch is dropped.
        lr: learning rate.
        seed: of the weights and of all draws.
        interrupt: after so many epochs everything is built anew and restored from what a checkpoint would hold.
    """
    loop = _Loop(defense, world, epochs, batch, lr, seed)
    for epoch in range(epochs):
        if epoch == interrupt:
            state = loop.state()
            loop = _Loop(defense, world, epochs, batch, lr, seed)
            loop.restore(state)
        loop.epoch(epoch)
    with seeded("tiny finish", seed):
        defense.finish(loop.model, loop.data, loop.ctx)
    deployed = defense.inference(loop.model, loop.ctx)
    return Trained(loop.model, deployed.eval(), loop.ctx)


class _Loop:
    """A training that can be saved and restored between epochs."""

    def __init__(self, defense: Defense, world: TinyWorld, epochs: int, batch: int, lr: float, seed: int) -> None:
        self.defense, self.batch, self.seed = defense, batch, seed
        self.ctx = world.context(epochs=epochs, seed=seed)
        images = world.images()
        self.ctx.steps_per_epoch = len(images) // batch
        self.ctx.batch, self.ctx.num_images, self.ctx.lr = batch, len(images), lr
        with seeded("tiny build", seed):
            self.model = defense.build(world.classifier(seed=seed), self.ctx).train()
            self.data = defense.train_dataset(images, self.ctx)
            self.transform = defense.train_transform(lambda x_BCHW: x_BCHW, self.ctx)
            self.descent = Descent(list(defense.parameters(self.model, self.ctx)), lr)

    def epoch(self, epoch: int) -> None:
        ctx = self.ctx
        ctx.epoch = epoch
        ctx.rng = generator("tiny defense", self.seed, "epoch", epoch)
        self.defense.on_epoch_start(self.model.train(), ctx)
        signals = [self._step(indices_B) for indices_B in self._batches(generator("tiny data order", self.seed, epoch))]
        ctx.history.append({name: fmean(row[name] for row in signals) for name in signals[0]})
        self.defense.on_epoch_end(self.model, ctx)

    def _batches(self, rng: torch.Generator) -> list[Tensor]:
        default = type(self.defense).batches is Defense.batches
        found = self.defense.labelled_batches(self.data.labels_N, self.batch, rng)
        return [indices_B for indices_B in found if len(indices_B) == self.batch or not default]

    def _step(self, indices_B: Tensor) -> Mapping[str, float]:
        ctx = self.ctx
        ctx.rng = generator("tiny defense", self.seed, ctx.step)
        self.descent.forget_gradients()
        with seeded("tiny step", self.seed, ctx.step):
            x_BCHW = self.transform(self.data.images(indices_B))
            step = self.defense.training_step(self.model, x_BCHW, self.data.labels_N[indices_B], ctx)
            step.loss.backward()
        self.defense.on_gradients(self.model, ctx)
        self.descent.step()
        self.defense.on_step_end(self.model, ctx)
        ctx.step += 1
        return {"loss": float(step.loss.detach()), **{name: float(value) for name, value in step.signals.items()}}

    def state(self) -> dict[str, Any]:
        """Return a copy of what a checkpoint holds."""
        return deepcopy(
            {
                "model": self.model.state_dict(),
                "velocities": self.descent.velocities,
                "extras": pack_extras(self.ctx.extras),
                "step": self.ctx.step,
                "history": self.ctx.history,
            }
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a copied state."""
        self.model.load_state_dict(state["model"])
        self.descent.velocities = state["velocities"]
        unpack_extras(self.ctx.extras, state["extras"])
        self.ctx.step, self.ctx.history = state["step"], state["history"]
