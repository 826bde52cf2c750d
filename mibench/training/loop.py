"""The training loop. It owns the steps; a defense only fills them.

Every random draw is derived from (seed, purpose, step), and every hook runs with the global generators seeded, so a
resumed run continues bit for bit and no result follows a global seed.
Shapes: B images of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mibench.api.classifier import Classifier
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, TrainContext
from mibench.api.errors import MibenchError
from mibench.api.extras import pack_extras, unpack_extras
from mibench.api.rng import generator, seeded
from mibench.protocol.schema import Recipe
from mibench.training.augment import make_augmentation
from mibench.training.checkpoint_rule import CheckpointRule
from mibench.training.checkpoints import load_checkpoint, save_checkpoint, set_aside
from mibench.training.optimiser import make_optimizer, make_schedule
from mibench.training.signals import numbers

CHECKPOINT_SECONDS = 10.0
"""Time between checkpoints, at least."""

Progress = Callable[[int, int, str, Mapping[str, float]], None]
"""``progress(done, total, unit, signals)``."""


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
        val: validation images, for recipes that choose a checkpoint by them.

    Attributes:
        checkpoint_seconds: age of the last checkpoint from which the next epoch writes one.
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
        val: ImageSet | None = None,
    ) -> None:
        self.model, self.defense, self.recipe, self.ctx, self.seed = model, defense, recipe, ctx, seed
        self.checkpoint, self.checkpoint_seconds = work / "training.pt", CHECKPOINT_SECONDS
        self.rule = CheckpointRule(recipe, val, seed)
        with seeded(seed, "dataset"):
            self.train = defense.train_dataset(train, ctx)
        ctx.num_images = len(self.train)
        with seeded(seed, "batches", "count"):
            ctx.steps_per_epoch = len(self._order(generator(seed, "count")))
        with seeded(seed, "transform"):
            self.transform = defense.train_transform(make_augmentation(recipe.augmentation, ctx.size), ctx)
        with seeded(seed, "parameters"):
            self.optimizer = make_optimizer(recipe, defense.parameters(model, ctx))
        self.schedule = make_schedule(recipe, self.optimizer)

    def run(self, progress: Progress) -> None:
        """Train to the last epoch, from where it stands, and keep the state that the recipe wants.

        Raises:
            MibenchError: if the loss, or a weight in the end, is not finite, or if no state is the one that the recipe
                wants.
        """
        saved = time.monotonic()
        for epoch in range(self.ctx.epoch, self.recipe.epochs):
            self._epoch(epoch)
            self.rule.look(self.model, self.ctx, epoch)
            self.ctx.epoch = epoch + 1
            progress(epoch + 1, self.recipe.epochs, "epochs", self.ctx.history[-1])
            if time.monotonic() - saved > self.checkpoint_seconds and epoch + 1 < self.recipe.epochs:
                self._save()
                saved = time.monotonic()
        self.rule.choose(self.model, self.ctx)
        broken = [name for name, weights in self.model.named_parameters() if not bool(weights.isfinite().all())]
        if broken:
            raise MibenchError(f"training diverged: after the last step, {broken[0]} holds values that are not finite")

    def _epoch(self, epoch: int) -> None:
        self.model.train()
        # Not what the last step left behind: a resumed training has no last step.
        self.ctx.rng = generator(self.seed, "defense", "epoch", epoch)
        self.ctx.lr = float(self.schedule.get_last_lr()[0])
        with seeded(self.seed, "epoch start", epoch):
            self.defense.on_epoch_start(self.model, self.ctx)
        sums: dict[str, float] = {}
        count = 0
        for x_BCHW, y_B in self._batches(epoch):
            for name, signal in self._step(x_BCHW, y_B).items():
                sums[name] = sums.get(name, 0.0) + signal * len(y_B)
            count += len(y_B)
        self.schedule.step()
        self.ctx.history.append({name: total / max(1, count) for name, total in sums.items()})
        with seeded(self.seed, "epoch end", epoch):
            self.defense.on_epoch_end(self.model, self.ctx)

    def _step(self, x_BCHW: Tensor, y_B: Tensor) -> dict[str, float]:
        self.ctx.rng = generator(self.seed, "defense", self.ctx.step)
        with seeded(self.seed, "augment", self.ctx.step):
            x_BCHW = self.transform(x_BCHW) if len(x_BCHW) else x_BCHW
        self.optimizer.zero_grad(set_to_none=True)
        with seeded(self.seed, "network", self.ctx.step):
            step = self.defense.training_step(self.model, x_BCHW, y_B, self.ctx)
            step.loss.backward()
        with seeded(self.seed, "gradients", self.ctx.step):
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
        signals = numbers(step.signals, "a signal of the defense's training step")
        return {"loss": loss, **{name: float(value) for name, value in signals.items()}}

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = generator(self.seed, "order", epoch)
        with seeded(self.seed, "batches", epoch):
            order = list(self._order(rng))
        for indices_B in order:
            with seeded(self.seed, "images", self.ctx.step):
                x_BCHW = self.train.images(indices_B).to(self.ctx.device)
            yield x_BCHW, self.train.labels_N[indices_B].to(self.ctx.device)

    def _order(self, rng: torch.Generator) -> Sequence[Tensor]:
        size, drop_last = self.recipe.batch, self.recipe.drop_last
        return self.defense.labelled_batches(self.train.labels_N, size, rng, drop_last=drop_last)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "extras": pack_extras(self.ctx.extras),
            "epoch": self.ctx.epoch,
            "step": self.ctx.step,
            "history": self.ctx.history,
            "rule": self.rule.state(),
        }
        save_checkpoint(self.checkpoint, state)

    def restore(self) -> bool:
        """Continue from the checkpoint, if there is one.

        Returns:
            False for one that does not fit: it is set aside, and this training, half restored, must be built anew.
        """
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return True
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            unpack_extras(self.ctx.extras, state["extras"])
            self.rule.restore(state.get("rule", {}))
            self.ctx.epoch, self.ctx.step, self.ctx.history = state["epoch"], state["step"], state["history"]
        except Exception as error:  # a network, an optimiser or a part of the defense with another structure
            set_aside([self.checkpoint], f"it does not fit this training ({type(error).__name__}: {error})")
            return False
        return True
