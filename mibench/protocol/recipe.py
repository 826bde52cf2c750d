"""The part of a protocol that says how classifiers are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mibench.protocol.frozen import Frozen, without

CHECKPOINT_RULE = r"^(last|best_val_loss|acc:(0?\.\d+|1(\.0*)?))$"


def _rising(scale: tuple[float, float] | None) -> tuple[float, float] | None:
    if scale is not None and scale[0] > scale[1]:
        raise ValueError(f"expected the smaller number first, got {scale[0]} and {scale[1]}")
    return scale


Fraction = Annotated[float, Ge(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]
Area = Annotated[float, Gt(0), Le(1)]


class Augmentation(Frozen):
    """Training augmentation; the same parameters for every defense.

    The colour jitter is torchvision's ``ColorJitter``: factors in [1 - strength, 1 + strength] (not below 0), drawn for
    each image; the order of the four changes is drawn for each batch; after each change values are cut to [0, 1].

    Attributes:
        crop_scale: area range of the random resized crop; ``None`` switches it off.
        flip: probability of a horizontal flip.
        brightness: strength of brightness jitter, a factor on all pixels; 0 for none.
        contrast: strength of contrast jitter, a factor on the distance from the image's mean grey; 0 for none.
        saturation: strength of saturation jitter, a factor on the distance from the pixel's grey; 0 for none.
        hue: largest turn of the hue, as a fraction of the colour circle; 0 for none.
    """

    crop_scale: Annotated[tuple[Area, Area] | None, AfterValidator(_rising)] = (0.85, 1.0)
    flip: Fraction = 0.5
    brightness: Annotated[float, Ge(0)] = 0.0
    contrast: Annotated[float, Ge(0)] = 0.0
    saturation: Annotated[float, Ge(0)] = 0.0
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.0

    @property
    def jitters(self) -> bool:
        """Whether colours change at all."""
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols, unless there is jitter, whose numbers changed with it."""
        dumped: dict[str, Any] = dump(self)
        return dumped if self.jitters else without(dumped, "saturation", "hue")


class Recipe(Frozen):
    """How a classifier is trained.

    Attributes:
        epochs: passes over the training images; 0 for an evaluator that comes trained.
        batch: images per step.
        optimizer: ``adam`` or ``sgd``.
        lr: initial learning rate.
        betas: of Adam.
        momentum: of SGD.
        weight_decay: L2 penalty.
        milestones: fractions of the epochs at which the rate drops.
        gamma: factor of each drop.
        augmentation: applied to training images.
        start: ``random`` weights, or those of a plain training with the same recipe on the ``public`` identities.
        drop_last: leave out the images of an epoch that do not fill a batch.
        checkpoint: which state is kept: that of the ``last`` epoch; ``best_val_loss``, the one with the lowest
            cross-entropy on the validation images, the earliest of equals; or ``acc:T``, the latest one whose accuracy
            on them is in [T - 0.0025, T + 0.0025), to compare defenses at one accuracy. A training whose accuracy
            never comes there fails. Trainings that come before another one keep their last state under ``acc:T``.
        validate_every: the validation images are looked at after epochs 0, N, 2N ... (counted from 0).
    """

    epochs: Annotated[int, Ge(0)]
    batch: Annotated[int, Ge(1)]
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Gt(0)] = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    momentum: Annotated[float, Ge(0)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 0.0
    milestones: tuple[Fraction, ...] = (0.75, 0.9)
    gamma: Annotated[float, Gt(0)] = 0.1
    augmentation: Augmentation = Augmentation()
    start: Literal["random", "public"] = "random"
    drop_last: bool = False
    checkpoint: Annotated[str, Field(pattern=CHECKPOINT_RULE)] = "last"
    validate_every: Annotated[int, Ge(1)] = 1

    @property
    def wanted_accuracy(self) -> float | None:
        """The accuracy T of ``acc:T``."""
        kind, _, accuracy = self.checkpoint.partition(":")
        return float(accuracy) if kind == "acc" else None

    @property
    def validates(self) -> bool:
        """Whether the validation images decide which state is kept."""
        return self.checkpoint != "last"

    def before_another(self) -> Recipe:
        """Return the recipe of a training that comes before one with this recipe."""
        if self.wanted_accuracy is None:
            return self
        return self.model_copy(update={"checkpoint": "last", "validate_every": 1})

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if self.epochs == 0 and (self.validates or self.start != "random"):
            raise ValueError("without epochs nothing is trained: leave out checkpoint and start, or set epochs")
        if self.validate_every != 1 and not self.validates:
            raise ValueError("validate_every has no effect while checkpoint is 'last'; set a rule or leave it out")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols while it is unset, so that their digests stay."""
        unset = ["start"] if self.start == "random" else []
        unset += [] if self.drop_last else ["drop_last"]
        unset += [] if self.validates else ["checkpoint", "validate_every"]
        return without(dump(self), *unset)
