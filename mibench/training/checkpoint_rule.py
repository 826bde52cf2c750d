"""Which state of a training is kept, where the recipe lets validation images decide.

The network is judged as it stands, in evaluation mode and without what a defense deploys around it, by cross-entropy
and accuracy on clean validation images. What is kept is the network with the defense's extras.

Shapes: B images of a batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from mibench.api.classifier import Classifier, evaluating
from mibench.api.data import ImageSet
from mibench.api.defense import TrainContext
from mibench.api.errors import MibenchError
from mibench.api.extras import pack_extras, unpack_extras
from mibench.api.rng import seeded
from mibench.protocol.schema import Recipe

TOLERANCE = 0.0025
"""How far an accuracy may be from the one that ``acc:T`` wants: the window of the AT-AT paper's code."""
BATCH = 256


class CheckpointRule:
    """Looks at the validation images after the epochs that the recipe names, and remembers the state it wants.

    Args:
        recipe: states the rule; under ``last`` nothing is looked at and nothing kept.
        val: the validation images.
        seed: of the training; a network that answers at random draws from it.

    Raises:
        MibenchError: if the rule needs validation images and there are none.
    """

    def __init__(self, recipe: Recipe, val: ImageSet | None, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        self.seen: list[dict[str, float]] = []
        self.kept: dict[str, Any] | None = None
        if recipe.validates and not val:
            raise MibenchError(f"the recipe's checkpoint {recipe.checkpoint!r} needs validation images, got none")
        self.val = val

    def look(self, model: Classifier, ctx: TrainContext, epoch: int) -> None:
        """Validate after an epoch that is due, and keep the state if it is the one to keep so far.

        Raises:
            MibenchError: if the validation loss is not finite.
        """
        if self.val is None or not self.recipe.validates or epoch % self.recipe.validate_every:
            return
        with seeded(self.seed, "validate", epoch), evaluating(model), torch.no_grad():
            found = {"epoch": epoch, **validate(model, self.val, ctx.device)}
        if not math.isfinite(found["loss"]):
            raise MibenchError(f"training diverged: the validation loss is {found['loss']} after epoch {epoch}")
        if self._better(found):
            state = {"model": model.state_dict(), "extras": pack_extras(ctx.extras)}
            self.kept = {"found": found, **deepcopy(state)}
        self.seen.append(found)

    def choose(self, model: Classifier, ctx: TrainContext) -> None:
        """Put the kept state back into the network and the extras; after the last epoch.

        Raises:
            MibenchError: if no state was ever near the accuracy that the recipe wants.
        """
        if not self.recipe.validates:
            return
        if self.kept is None:
            raise MibenchError(self._never())
        model.load_state_dict(self.kept["model"])
        for name in set(ctx.extras) - set(self.kept["extras"]):
            del ctx.extras[name]  # made by a later epoch
        unpack_extras(ctx.extras, self.kept["extras"])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        return {"seen": self.seen, "kept": self.kept} if self.recipe.validates else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.seen, self.kept = list(state.get("seen", [])), state.get("kept")

    def report(self) -> dict[str, Any]:
        """Return what the target's report says: which epoch was kept, why, and what validation saw; empty if last."""
        if self.kept is None:
            return {}
        found = self.kept["found"]
        wanted = self.recipe.wanted_accuracy
        why = (
            f"the lowest of {len(self.seen)} validation losses, {found['loss']:.6g}"
            if wanted is None
            else f"the last of {len(self.seen)} validated epochs whose accuracy, {found['accuracy']:.4f}, is within"
            f" {TOLERANCE} of {wanted:g}"
        )
        return {"rule": self.recipe.checkpoint, "epoch": found["epoch"], "reason": why, "validation": self.seen}

    def _better(self, found: Mapping[str, float]) -> bool:
        wanted = self.recipe.wanted_accuracy
        if wanted is not None:
            return wanted - TOLERANCE <= found["accuracy"] < wanted + TOLERANCE
        return self.kept is None or found["loss"] < self.kept["found"]["loss"]

    def _never(self) -> str:
        wanted = self.recipe.wanted_accuracy
        if wanted is None or self.val is None:
            return f"no epoch was validated; validate_every is {self.recipe.validate_every}"
        near = min(self.seen, key=lambda found: abs(found["accuracy"] - wanted))
        return (
            f"checkpoint {self.recipe.checkpoint!r}: none of {len(self.seen)} validated epochs has an accuracy within"
            f" {TOLERANCE} of {wanted:g}; the nearest is {near['accuracy']:.4f} after epoch {near['epoch']}. With"
            f" {len(self.val)} validation images accuracies are multiples of {1 / len(self.val):.4g}. Choose another"
            " accuracy, validate more often, or train longer."
        )


def validate(model: Classifier, val: ImageSet, device: torch.device) -> dict[str, float]:
    """Return the mean cross-entropy (float64) and the accuracy of a network on clean images."""
    loss, hits = 0.0, 0
    for indices_B in torch.arange(len(val)).split(BATCH):
        logits_BK, y_B = model(val.images(indices_B).to(device)), val.labels_N[indices_B].to(device)
        loss += cross_entropy(logits_BK.double(), y_B, reduction="sum").item()
        hits += int((logits_BK.argmax(1) == y_B).sum())
    return {"loss": loss / len(val), "accuracy": hits / len(val)}
