"""Trap-MID: trapdoors that lead a model inversion astray.

Shapes: B images of a batch, C channels, H = W pixels, K classes, U classes that occur in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import (
    Classifier,
    Defense,
    ImageSet,
    OmitIfDefault,
    SelfCheck,
    Step,
    TrainContext,
    UsageError,
    evaluating,
    loss_of,
)
from mibench.api import (
    without_weight_gradients as frozen,
)
from mibench_defenses.methods.bido import BiDO
from mibench_defenses.parts import trapdoors
from mibench_defenses.parts.discriminators import Judges, Panel, Reduction, Signals
from mibench_defenses.parts.trapdoors import blend, part

ACTIVE_ABOVE = 0.5
"""Trapdoor accuracy from which the defense counts as active; a trapdoor that works is near 1, none is near 1/K."""


@dataclass(frozen=True, kw_only=True)
class TrapMid(Defense):
    """Minimise (1 - beta) CE(f(aug x), y) + beta CE(f(aug x'), c), with x' = (1 - alpha) x + alpha T_c.

    Each class c has a trigger T_c. A discriminator D learns x from x'; every step moves the triggers by one signed step
    down BCE(D(x'), 1) + CE(f(aug x'), c), so that they work and do not show. x is an image after the recipe's own
    augmentation. An attack that searches an image of class c then finds the trigger instead of the person, unless it
    knows of triggers and filters them out.

    Source: Liu and Chen, NeurIPS 2024 (Trap-MID).

    Attributes:
        alpha: share of the trigger in the blend, (0, 1).
        beta: weight of the trapdoor loss, [0, 1]; the main loss has 1 - beta.
        step: length of the signed step of the triggers, [0, 1] units.
        low: lowest value of a trigger, [0, 1] units; the highest is 1.
        discriminator: ``pixel`` (the target's architecture with one logit), ``feature`` (a small network on the
            target's features and one-hot decision), ``both``, each with half the weight for the triggers, or ``none``.
        augment: crop, flip and rotate the images and the triggered images that f sees, each with probability 1/2.
        discriminator_reduction: of a discriminator's two halves, natural and triggered: ``mean`` is the released one,
            over all 2B images, ``sum`` twice that. The factor is nothing to Adam and doubles the rate of SGD.
        feature_hidden: hidden units of the feature discriminator; 0 is as many as its inputs, as in the released code.
        feature_loss: train f too so that the feature discriminator (needed) is undecided on both halves; weight beta.
        lambda_x: weight of BiDO's d(X, Z) on augmented natural images in [0, 1]. (The released code compares images
            with activations of both halves here, two to a row.)
        lambda_y: weight of BiDO's d(Z, Y) there; 0 leaves either out.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"alpha": 0.02, "beta": 0.2, "step": 0.01, "discriminator_reduction": "mean"},
        # The AT-AT authors' run blends triggers in [0, 1] into images in [-1, 1]; this is the same in [0, 1] units.
        "atat-paper": {"alpha": 0.02, "beta": 0.2, "step": 0.005, "low": 0.5, "discriminator_reduction": "mean"},
        # Chosen on orl64's validation variant (docs/defenses.md): no trapdoor opened there with the discriminator.
        "orl64": {"alpha": 0.1, "discriminator": "none"},
        "rendered64": {"alpha": 0.1, "discriminator": "none"},
    }

    alpha: Annotated[float, Gt(0), Lt(1)] = 0.02
    beta: Annotated[float, Ge(0), Le(1)] = 0.2
    step: Annotated[float, Gt(0)] = 0.01
    low: Annotated[float, Ge(0), Lt(1)] = 0.0
    discriminator: Judges = "pixel"
    augment: bool = True
    discriminator_reduction: Annotated[Reduction, OmitIfDefault()] = "sum"
    feature_hidden: Annotated[int, Ge(0), OmitIfDefault()] = 256
    feature_loss: Annotated[bool, OmitIfDefault()] = False
    lambda_x: Annotated[float, Ge(0), OmitIfDefault()] = 0.0
    lambda_y: Annotated[float, Ge(0), OmitIfDefault()] = 0.0

    def __post_init__(self) -> None:
        if self.feature_loss and self.discriminator not in ("feature", "both"):
            raise UsageError("trap-mid: feature_loss needs discriminator=feature or both.")

    def cost(self) -> float:
        """Return the cost: two batches through f, one through f to the triggers, and what D takes."""
        judge = {"none": 0, "pixel": 2 * 3 + 2, "feature": 2 + 2, "both": 2 * 3 + 2 + 2 + 2}[self.discriminator]
        return (2 * 3 + 2 + judge) / 3

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put triggers, discriminators and their optimisers beside the network."""
        shape = (ctx.num_classes, ctx.channels, ctx.size, ctx.size)
        ctx.extras["triggers"] = (self.low + (1 - self.low) * torch.rand(shape, generator=ctx.rng)).to(ctx.device)
        ctx.extras["labels"] = trapdoors.balanced_labels(ctx)
        self._panel.add(classifier, ctx)
        return BiDO().build(classifier, ctx) if self._depends else classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Shuffle the trapdoor labels and give the discriminator the epoch's learning rate."""
        ctx.extras["labels"] = trapdoors.balanced_labels(ctx)
        self._panel.follow_rate(ctx)

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Teach the discriminator, move the triggers, and return the loss of the target with the moved triggers."""
        labels, first = ctx.extras["labels"], ctx.step % max(1, ctx.steps_per_epoch) * ctx.batch
        c_B = labels[(first + torch.arange(len(y_B))) % len(labels)].to(y_B.device)
        with evaluating(model):
            accuracies = self._teach_discriminators(model, x_BCHW, c_B, ctx)
            self._move_triggers(model, x_BCHW, c_B, ctx)
        x_blended = blend(x_BCHW, ctx.extras["triggers"][c_B], self.alpha)
        x_both = trapdoors.augmented(torch.cat([x_BCHW, x_blended]), ctx.rng, on=self.augment)
        outputs = model.outputs(x_both, stages=self._depends)
        main, trapdoor = part(outputs, slice(len(y_B))), part(outputs, slice(len(y_B), None))
        losses = {"main_loss": loss_of(main, y_B), "trapdoor_loss": loss_of(trapdoor, c_B)}
        loss = (1 - self.beta) * losses["main_loss"] + self.beta * losses["trapdoor_loss"]
        if self.feature_loss:
            loss = loss + self.beta * losses.setdefault("feature_loss", self._panel.doubt(outputs, ctx))
        if self._depends:
            found = BiDO(image_scale="unit").dependences(x_both[: len(y_B)], main.stages, one_hot(y_B, ctx.num_classes))
            losses["dependence"] = (self.lambda_x * found[0] - self.lambda_y * found[1]).sum().to(loss)
            loss = loss + losses["dependence"]
        accuracies["trapdoor_accuracy"] = (trapdoor.logits.argmax(1) == c_B).float().mean()
        return Step(loss, {**{name: value.detach() for name, value in losses.items()}, **accuracies})

    @property
    def _panel(self) -> Panel:
        return Panel(self.discriminator, self.feature_hidden, self.discriminator_reduction)

    @property
    def _depends(self) -> bool:
        return self.lambda_x + self.lambda_y > 0

    def _teach_discriminators(self, model: Classifier, x_BCHW: Tensor, c_B: Tensor, ctx: TrainContext) -> Signals:
        x_blended = blend(x_BCHW, ctx.extras["triggers"][c_B], self.alpha)
        return self._panel.teach(model, torch.cat([x_BCHW, x_blended]), ctx)

    def _move_triggers(self, model: Classifier, x_BCHW: Tensor, c_B: Tensor, ctx: TrainContext) -> None:
        """Take one signed step of the triggers that occur in the batch, towards effective and natural."""
        triggers = ctx.extras["triggers"]
        classes_U, where_B = c_B.unique(return_inverse=True)
        own_UCHW = triggers[classes_U].requires_grad_(True)
        x_blended = blend(x_BCHW, own_UCHW[where_B], self.alpha)
        with frozen(model):
            loss = loss_of(model.outputs(trapdoors.augmented(x_blended, ctx.rng, on=self.augment)), c_B)
            loss = loss + self._panel.unmasking(model, x_blended, ctx)
            (gradient_UCHW,) = torch.autograd.grad(loss, own_UCHW)
        triggers[classes_U] = (own_UCHW.detach() - self.step * gradient_UCHW.sign()).clamp(self.low, 1)

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Measure the trapdoor accuracy on training images, each with the trigger of a class that is not its own."""
        triggers = ctx.extras["triggers"]
        ctx.extras["trapdoor_accuracy"] = torch.tensor(trapdoors.trapdoor_accuracy(model, data, triggers, self.alpha))

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the triggers decide on at least ``ACTIVE_ABOVE`` of the training images after training."""
        success = float(ctx.extras.get("trapdoor_accuracy", 0.0))
        reason = f"trapdoor accuracy {success:.3f} with triggers of other classes; active from {ACTIVE_ABOVE}"
        return SelfCheck(success >= ACTIVE_ABOVE, {"trapdoor_accuracy": success}, reason)
