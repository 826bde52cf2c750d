"""The training loop of targets and evaluators. It owns the steps; a defense only fills them.

Every random draw is derived from (seed, purpose, step), so a resumed run continues bit for bit.
Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, TrainContext
from mibench.api.errors import MibenchError
from mibench.api.extras import pack_extras, unpack_extras
from mibench.api.rng import generator, seeded
from mibench.protocol.schema import Recipe
from mibench.stages.augment import make_augmentation
from mibench.stages.context import Progress
from mibench.stages.files import load_checkpoint, save_checkpoint

CHECKPOINT_SECONDS = 10.0


class Training:
    """One training run.

    Args:
        model: what the defense built, on its device.
        defense: supplies loss, data, transform and signals.
        recipe: epochs, optimiser, augmentation.
        train: training images.
        ctx: the defense's context, whose ``epoch``, ``step`` and ``history`` this loop advances.
        seed: derives data order, augmentation and dropout.
        work: folder for checkpoints.
    """

    def __init__(
        self,
        model: Classifier,
        defense: Defense,
        recipe: Recipe,
        train: ImageSet,
        ctx: TrainContext,
        *,
        seed: int,
        work: Path,
    ) -> None:
        self.model, self.defense, self.recipe, self.ctx, self.seed = model, defense, recipe, ctx, seed
        self.checkpoint = work / "training.pt"
        self.train = defense.train_dataset(train, ctx)
        ctx.num_images = len(self.train)
        ctx.steps_per_epoch = len(defense.batches(len(self.train), recipe.batch, generator(seed, "count")))
        self.transform = defense.train_transform(make_augmentation(recipe.augmentation, ctx.size), ctx)
        self.optimizer = make_optimizer(recipe, list(defense.parameters(model, ctx)))
        milestones = [round(fraction * recipe.epochs) for fraction in recipe.milestones]
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, milestones, recipe.gamma)

    def run(self, progress: Progress) -> None:
        """Train to the last epoch, from the checkpoint if there is one.

        Raises:
            MibenchError: if the loss is not finite.
        """
        self._restore()
        saved = time.monotonic()
        for epoch in range(self.ctx.epoch, self.recipe.epochs):
            self._epoch(epoch)
            self.ctx.epoch = epoch + 1
            progress(epoch + 1, self.recipe.epochs, "epochs", self.ctx.history[-1])
            if time.monotonic() - saved > CHECKPOINT_SECONDS and epoch + 1 < self.recipe.epochs:
                self._save()
                saved = time.monotonic()

    def _epoch(self, epoch: int) -> None:
        self.model.train()
        # Not what the last step left behind: a resumed training has no last step.
        self.ctx.rng = generator(self.seed, "defense", "epoch", epoch)
        self.ctx.lr = float(self.schedule.get_last_lr()[0])
        self.defense.on_epoch_start(self.model, self.ctx)
        sums: dict[str, float] = {}
        count = 0
        for x_BCHW, y_B in self._batches(epoch):
            for name, signal in self._step(x_BCHW, y_B).items():
                sums[name] = sums.get(name, 0.0) + signal * len(y_B)
            count += len(y_B)
        self.schedule.step()
        self.ctx.history.append({name: total / max(1, count) for name, total in sums.items()})
        self.defense.on_epoch_end(self.model, self.ctx)

    def _step(self, x_BCHW: Tensor, y_B: Tensor) -> dict[str, float]:
        self.ctx.rng = generator(self.seed, "defense", self.ctx.step)
        with seeded(self.seed, "augment", self.ctx.step):
            x_BCHW = self.transform(x_BCHW) if len(x_BCHW) else x_BCHW
        self.optimizer.zero_grad(set_to_none=True)
        with seeded(self.seed, "network", self.ctx.step):
            step = self.defense.training_step(self.model, x_BCHW, y_B, self.ctx)
            step.loss.backward()
        self.defense.on_gradients(self.model, self.ctx)
        self.optimizer.step()
        self.defense.on_step_end(self.model, self.ctx)
        loss = float(step.loss.detach())
        if loss != loss or abs(loss) == float("inf"):
            raise MibenchError(
                f"training diverged: the loss is {loss} at step {self.ctx.step} of epoch {self.ctx.epoch}; the learning"
                f" rate is {self.ctx.lr:g}. Lower it, or the weights of the defense's own terms."
            )
        self.ctx.step += 1
        return {"loss": loss, **{name: float(value) for name, value in step.signals.items()}}

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = generator(self.seed, "order", epoch)
        for indices_B in self.defense.batches(len(self.train), self.recipe.batch, rng):
            yield self.train.images(indices_B).to(self.ctx.device), self.train.labels_N[indices_B].to(self.ctx.device)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "extras": pack_extras(self.ctx.extras),
            "epoch": self.ctx.epoch,
            "step": self.ctx.step,
            "history": self.ctx.history,
        }
        save_checkpoint(self.checkpoint, state)

    def _restore(self) -> None:
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        unpack_extras(self.ctx.extras, state["extras"])
        self.ctx.epoch, self.ctx.step, self.ctx.history = state["epoch"], state["step"], state["history"]


def make_optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
