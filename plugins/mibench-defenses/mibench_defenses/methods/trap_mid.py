"""Trap-MID: trapdoors that lead a model inversion astray.

Shapes: B images of a batch, C channels, H = W pixels, K classes, U classes that occur in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import (
    Classifier,
    Defense,
    Dependence,
    FlatNames,
    ImageSet,
    OmitIfDefault,
    SelfCheck,
    Step,
    TrainContext,
    evaluating,
    loss_of,
    without_weight_gradients,
)
from mibench_defenses.parts import trapdoors
from mibench_defenses.parts.discriminators import Discriminators, Signals
from mibench_defenses.parts.stages import check_stages
from mibench_defenses.parts.trapdoors import Triggers, blend, part

ACTIVE_ABOVE = 0.5
"""Trapdoor accuracy from which the defense counts as active; a trapdoor that works is near 1, none is near 1/K."""


DEPENDENCE = Dependence(image_scale="unit")
"""How BiDO's dependences are measured here."""


@dataclass(frozen=True, kw_only=True)
class TrapMid(Defense):
    """Minimise (1 - beta) CE(f(aug x), y) + beta CE(f(aug x'), c), with x' = (1 - alpha) x + alpha T_c.

    Each class c has a trigger T_c. A discriminator D learns x from x'; every step moves the triggers by one signed step
    down BCE(D(x'), 1) + CE(f(aug x'), c), so that they work and do not show. x is an image after the recipe's own
    augmentation. An attack that searches an image of class c then finds the trigger instead of the person, unless it
    knows of triggers and filters them out.

    Source: Liu and Chen, NeurIPS 2024 (Trap-MID).

    Attributes:
        beta: weight of the trapdoor loss, [0, 1]; the main loss has 1 - beta.
        augment: crop, flip and rotate the images and the triggered images that f sees, each with probability 1/2.
        triggers: how they are blended in and moved.
        discriminators: D.
        lambda_x: weight of BiDO's d(X, Z) on augmented natural images in [0, 1]. (The released code compares images
            with activations of both halves here, two to a row.)
        lambda_y: weight of BiDO's d(Z, Y) there; 0 leaves either out.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"alpha": 0.02, "beta": 0.2, "step": 0.01, "discriminator_reduction": "mean"},
        # The AT-AT authors' run blends triggers in [0, 1] into images in [-1, 1]; this is the same in [0, 1] units.
        "atat-paper": {"alpha": 0.02, "beta": 0.2, "step": 0.005, "low": 0.5, "discriminator_reduction": "mean"},
    }

    beta: Annotated[float, Ge(0), Le(1)] = 0.2
    augment: bool = True
    triggers: Annotated[Triggers, FlatNames()] = Triggers()
    discriminators: Annotated[
        Discriminators,
        FlatNames(kind="discriminator", reduction="discriminator_reduction", hidden="feature_hidden"),
    ] = Discriminators()
    lambda_x: Annotated[float, Ge(0), OmitIfDefault()] = 0.0
    lambda_y: Annotated[float, Ge(0), OmitIfDefault()] = 0.0

    def cost(self) -> float:
        """Return the cost: two batches through f, one through f to the triggers, and what D takes."""
        return (2 * 3 + 2 + self.discriminators.cost) / 3

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put triggers, discriminators and their optimisers beside the network."""
        shape = (ctx.num_classes, ctx.channels, ctx.size, ctx.size)
        ctx.extras["triggers"] = self.triggers.draw(shape, ctx.rng).to(ctx.device)
        ctx.extras["labels"] = trapdoors.balanced_labels(ctx)
        self.discriminators.add(classifier, ctx)
        if self._depends:
            check_stages(classifier, (), "trap-mid, with lambda_x or lambda_y,")
        return classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Shuffle the trapdoor labels and give the discriminator the epoch's learning rate."""
        ctx.extras["labels"] = trapdoors.balanced_labels(ctx)
        self.discriminators.follow_rate(ctx)

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Train the discriminators, move the triggers, and return the loss of the target with the moved triggers."""
        labels, first = ctx.extras["labels"], ctx.step % max(1, ctx.steps_per_epoch) * ctx.batch
        c_B = labels[(first + torch.arange(len(y_B))) % len(labels)].to(y_B.device)
        with evaluating(model):
            accuracies = self._train_discriminators(model, x_BCHW, c_B, ctx)
            self._move_triggers(model, x_BCHW, c_B, ctx)
        x_blended = blend(x_BCHW, ctx.extras["triggers"][c_B], self.triggers.alpha)
        x_both = trapdoors.augmented(torch.cat([x_BCHW, x_blended]), ctx.rng, on=self.augment)
        outputs = model.outputs(x_both, stages=self._depends)
        main, trapdoor = part(outputs, slice(len(y_B))), part(outputs, slice(len(y_B), None))
        losses = {"main_loss": loss_of(main, y_B), "trapdoor_loss": loss_of(trapdoor, c_B)}
        loss = (1 - self.beta) * losses["main_loss"] + self.beta * losses["trapdoor_loss"]
        if self.discriminators.feature_loss:
            loss = loss + self.beta * losses.setdefault(
                "feature_loss", self.discriminators.undecided_loss(outputs, ctx)
            )
        if self._depends:
            found = DEPENDENCE.of_stages(x_both[: len(y_B)], main.stages, one_hot(y_B, ctx.num_classes))
            losses["dependence"] = (self.lambda_x * found[0] - self.lambda_y * found[1]).sum().to(loss)
            loss = loss + losses["dependence"]
        accuracies["trapdoor_accuracy"] = (trapdoor.logits.argmax(1) == c_B).float().mean()
        return Step(loss, {**{name: value.detach() for name, value in losses.items()}, **accuracies})

    @property
    def _depends(self) -> bool:
        return self.lambda_x + self.lambda_y > 0

    def _train_discriminators(self, model: Classifier, x_BCHW: Tensor, c_B: Tensor, ctx: TrainContext) -> Signals:
        x_blended = blend(x_BCHW, ctx.extras["triggers"][c_B], self.triggers.alpha)
        return self.discriminators.train_step(model, torch.cat([x_BCHW, x_blended]), ctx)

    def _move_triggers(self, model: Classifier, x_BCHW: Tensor, c_B: Tensor, ctx: TrainContext) -> None:
        """Take one signed step of the triggers that occur in the batch, towards effective and natural."""
        triggers = ctx.extras["triggers"]
        classes_U, where_B = c_B.unique(return_inverse=True)
        own_UCHW = triggers[classes_U].requires_grad_(True)
        x_blended = blend(x_BCHW, own_UCHW[where_B], self.triggers.alpha)
        with without_weight_gradients(model):
            loss = loss_of(model.outputs(trapdoors.augmented(x_blended, ctx.rng, on=self.augment)), c_B)
            loss = loss + self.discriminators.naturalness_loss(model, x_blended, ctx)
            (gradient_UCHW,) = torch.autograd.grad(loss, own_UCHW)
        triggers[classes_U] = (own_UCHW.detach() - self.triggers.step * gradient_UCHW.sign()).clamp(
            self.triggers.low, 1
        )

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Measure the trapdoor accuracy on training images, each with the trigger of a class that is not its own."""
        triggers = ctx.extras["triggers"]
        ctx.extras["trapdoor_accuracy"] = torch.tensor(
            trapdoors.trapdoor_accuracy(model, data, triggers, self.triggers.alpha)
        )

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the triggers decide on at least ``ACTIVE_ABOVE`` of the training images after training."""
        success = float(ctx.extras.get("trapdoor_accuracy", 0.0))
        reason = f"trapdoor accuracy {success:.3f} with triggers of other classes; active from {ACTIVE_ABOVE}"
        return SelfCheck(success >= ACTIVE_ABOVE, {"trapdoor_accuracy": success}, reason)
