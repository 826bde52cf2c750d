"""Trap-MID: trapdoors that lead a model inversion astray.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features, U classes that occur in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import Classifier, Defense, ImageSet, SelfCheck, Step, TrainContext, loss_of, without_weight_gradients
from mibench.api.classifier import evaluating
from mibench_defenses import trapdoors
from mibench_defenses.trapdoors import blend, part, towards

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
            target's features and one-hot decision) or ``none``.
        augment: crop, flip and rotate the images and the triggered images that f sees, each with probability 1/2.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"alpha": 0.02, "beta": 0.2, "step": 0.01},
        # The AT-AT authors' run blends triggers in [0, 1] into images in [-1, 1]; this is the same in [0, 1] units.
        "atat-paper": {"alpha": 0.02, "beta": 0.2, "step": 0.005, "low": 0.5},
        # Chosen on orl64's validation variant (docs/defenses.md): no trapdoor opened there with the discriminator.
        "orl64": {"alpha": 0.1, "discriminator": "none"},
        "rendered64": {"alpha": 0.1, "discriminator": "none"},
    }

    alpha: Annotated[float, Gt(0), Lt(1)] = 0.02
    beta: Annotated[float, Ge(0), Le(1)] = 0.2
    step: Annotated[float, Gt(0)] = 0.01
    low: Annotated[float, Ge(0), Lt(1)] = 0.0
    discriminator: Literal["pixel", "feature", "none"] = "pixel"
    augment: bool = True

    def cost(self) -> float:
        """Return the cost: two batches through f, one through f to the triggers, and what D takes."""
        judge = {"none": 0, "pixel": 2 * 3 + 2, "feature": 2 + 2}[self.discriminator]
        return (2 * 3 + 2 + judge) / 3

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put triggers, discriminator and its optimiser beside the network.

        The discriminator begins with the target's weights, pre-trained or random, but for its head.
        """
        shape = (ctx.num_classes, ctx.channels, ctx.size, ctx.size)
        ctx.extras["triggers"] = (self.low + (1 - self.low) * torch.rand(shape, generator=ctx.rng)).to(ctx.device)
        ctx.extras["labels"] = trapdoors.balanced_labels(ctx)
        if self.discriminator != "none":
            judge = trapdoors.make_judge(classifier, self.discriminator)
            ctx.extras["discriminator"] = judge.to(ctx.device)
            ctx.extras["discriminator_optimizer"] = ctx.new_optimizer(judge.parameters())
        return classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Shuffle the trapdoor labels and give the discriminator the epoch's learning rate."""
        ctx.extras["labels"] = trapdoors.balanced_labels(ctx)
        for group in ctx.extras["discriminator_optimizer"].param_groups if self.discriminator != "none" else []:
            group["lr"] = ctx.lr

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Teach the discriminator, move the triggers, and return the loss of the target with the moved triggers."""
        labels, first = ctx.extras["labels"], ctx.step % max(1, ctx.steps_per_epoch) * ctx.batch
        c_B = labels[(first + torch.arange(len(y_B))) % len(labels)].to(y_B.device)
        with evaluating(model):
            natural = self._teach_discriminator(model, x_BCHW, c_B, ctx)
            self._move_triggers(model, x_BCHW, c_B, ctx)
        x_both = torch.cat([x_BCHW, blend(x_BCHW, ctx.extras["triggers"][c_B], self.alpha)])
        outputs = model.outputs(trapdoors.augmented(x_both, ctx.rng, on=self.augment))
        main, trapdoor = part(outputs, slice(len(y_B))), part(outputs, slice(len(y_B), None))
        main_loss, trapdoor_loss = loss_of(main, y_B), loss_of(trapdoor, c_B)
        signals = {
            "main_loss": main_loss.detach(),
            "trapdoor_loss": trapdoor_loss.detach(),
            "trapdoor_accuracy": (trapdoor.logits.argmax(1) == c_B).float().mean(),
            "discriminator_accuracy": natural,
        }
        return Step((1 - self.beta) * main_loss + self.beta * trapdoor_loss, signals)

    def _teach_discriminator(self, model: Classifier, x_BCHW: Tensor, c_B: Tensor, ctx: TrainContext) -> Tensor | float:
        """Take one step of D on natural (1) and triggered (0) images; returns its accuracy."""
        if self.discriminator == "none":
            return 0.0
        judge, optimizer = ctx.extras["discriminator"].train(), ctx.extras["discriminator_optimizer"]
        with torch.no_grad():
            seen = self._evidence(model, torch.cat([x_BCHW, blend(x_BCHW, ctx.extras["triggers"][c_B], self.alpha)]))
        logit_natural_B, logit_triggered_B = judge(seen)[:, 0].chunk(2)
        optimizer.zero_grad(set_to_none=True)
        (towards(logit_natural_B, 1) + towards(logit_triggered_B, 0)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.cat([logit_natural_B > 0, logit_triggered_B <= 0]).float().mean()

    def _move_triggers(self, model: Classifier, x_BCHW: Tensor, c_B: Tensor, ctx: TrainContext) -> None:
        """Take one signed step of the triggers that occur in the batch, towards effective and natural."""
        triggers = ctx.extras["triggers"]
        classes_U, where_B = c_B.unique(return_inverse=True)
        own_UCHW = triggers[classes_U].requires_grad_(True)
        x_blended = blend(x_BCHW, own_UCHW[where_B], self.alpha)
        with without_weight_gradients(model):
            loss = loss_of(model.outputs(trapdoors.augmented(x_blended, ctx.rng, on=self.augment)), c_B)
            if self.discriminator != "none":
                judge = ctx.extras["discriminator"].eval()
                with without_weight_gradients(judge):
                    loss = loss + towards(judge(self._evidence(model, x_blended))[:, 0], 1)
            (gradient_UCHW,) = torch.autograd.grad(loss, own_UCHW)
        triggers[classes_U] = (own_UCHW.detach() - self.step * gradient_UCHW.sign()).clamp(self.low, 1)

    def _evidence(self, model: Classifier, x_BCHW: Tensor) -> Tensor:
        """Return what the discriminator looks at: images, or the target's features and one-hot decision."""
        if self.discriminator == "pixel":
            return x_BCHW
        outputs = model.outputs(x_BCHW)
        decision_BK = one_hot(outputs.logits.argmax(1), outputs.logits.shape[1])
        return torch.cat([outputs.features.flatten(1), decision_BK.to(outputs.features)], 1)

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Measure the trapdoor accuracy on training images, each with the trigger of a class that is not its own."""
        triggers = ctx.extras["triggers"]
        ctx.extras["trapdoor_accuracy"] = torch.tensor(trapdoors.trapdoor_accuracy(model, data, triggers, self.alpha))

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the triggers decide on at least ``ACTIVE_ABOVE`` of the training images after training."""
        success = float(ctx.extras.get("trapdoor_accuracy", 0.0))
        reason = f"trapdoor accuracy {success:.3f} with triggers of other classes; active from {ACTIVE_ABOVE}"
        return SelfCheck(success >= ACTIVE_ABOVE, {"trapdoor_accuracy": success}, reason)
