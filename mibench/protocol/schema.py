"""The shape of a protocol file. Everything in it is frozen: its digest goes into every record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mibench.api.params import STRICT

CHECKPOINT_RULE = r"^(last|best_val_loss|acc:(0?\.\d+|1(\.0*)?))$"


def _rising(scale: tuple[float, float] | None) -> tuple[float, float] | None:
    if scale is not None and scale[0] > scale[1]:
        raise ValueError(f"expected the smaller number first, got {scale[0]} and {scale[1]}")
    return scale


Fraction = Annotated[float, Ge(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]
Area = Annotated[float, Gt(0), Le(1)]


class Frozen(BaseModel):
    """Base of all parts: unknown keys are errors, instances do not change."""

    model_config = STRICT


def _without(dumped: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in dumped.items() if name not in names}


class ComponentChoice(Frozen):
    """A component by name, with the parameters that differ from its defaults.

    Attributes:
        name: registered name.
        preset: named parameter set to start from.
        params: overrides on top of it.
    """

    name: str
    preset: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)


class ImageShape(Frozen):
    """The canonical image of a protocol.

    Attributes:
        size: side in pixels.
        channels: 1 (grey) or 3 (RGB).
        deliver: larger side at which attacks deliver and judges are trained and look, for evaluators that want
            more pixels than the target (299 for Inception beside a target of 224); ``None`` is ``size``. What is
            delivered is rendered anew at this side and holds 8 bits; the target resizes it to ``size``.
    """

    size: Annotated[int, Ge(8)]
    channels: Literal[1, 3]
    deliver: Annotated[int, Ge(9)] | None = None

    @property
    def judged(self) -> ImageShape:
        """The image as judges see it."""
        return ImageShape(size=self.deliver or self.size, channels=self.channels)

    @property
    def seen(self) -> ImageShape:
        """The image as the target and the prior see it."""
        return ImageShape(size=self.size, channels=self.channels)

    @model_validator(mode="after")
    def _check_deliver(self) -> Self:
        if self.deliver is not None and self.deliver <= self.size:
            raise ValueError(
                f"deliver {self.deliver} must be larger than size {self.size}; leave it out for equal sides"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(dump(self), *(["deliver"] if self.deliver is None else []))


class Split(Frozen):
    """Who is private and which images train. Identities and images are permuted by ``seed``.

    Attributes:
        seed: seed of the permutations.
        private: number of private identities, the classes of the target.
        public: number of public identities, disjoint from the private ones; the prior learns from them.
        train: images per private identity that train the target and form the gallery.
        val: images per identity for choosing parameters.
        test: images per identity that are reported on.
        private_from: which end of the permuted identities is private. The validation variant takes the back, so that
            parameters are chosen on people on whom nothing is reported.
    """

    seed: int = 0
    private: Annotated[int, Ge(2)]
    public: Annotated[int, Ge(1)]
    train: Annotated[int, Ge(1)]
    val: Annotated[int, Ge(0)]
    test: Annotated[int, Ge(1)]
    private_from: Literal["front", "back"] = "front"


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
        return dumped if self.jitters else _without(dumped, "saturation", "hue")


class Recipe(Frozen):
    """How a classifier is trained.

    Attributes:
        epochs: passes over the training images.
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

    epochs: Annotated[int, Ge(1)]
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
        if self.validate_every != 1 and not self.validates:
            raise ValueError("validate_every has no effect while checkpoint is 'last'; set a rule or leave it out")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols while it is unset, so that their digests stay."""
        unset = ["start"] if self.start == "random" else []
        unset += [] if self.drop_last else ["drop_last"]
        unset += [] if self.validates else ["checkpoint", "validate_every"]
        return _without(dump(self), *unset)


class PublicSource(Frozen):
    """Public images from elsewhere than the protocol's own public identities.

    Attributes:
        dataset: a dataset without any private identity of the protocol.
        identities: how many of its identities to take, from the first on.
    """

    dataset: ComponentChoice
    identities: Annotated[int, Ge(1)]


class PriorChoice(ComponentChoice):
    """The attacker's prior.

    Attributes:
        seed: of its training.
        source: where its training images come from; ``None`` for the protocol's public identities.
    """

    seed: int = 0
    source: PublicSource | None = None


class Evaluator(Frozen):
    """A classifier trained on the private data that judges reconstructions; attacks never see it.

    Attributes:
        name: short name used in metric columns.
        model: architecture.
        recipe: how it is trained.
        seed: training seed, different from every target's.
    """

    name: str
    model: ComponentChoice
    recipe: Recipe
    seed: int


class ClassChoice(Frozen):
    """Which classes are attacked, where an attack on all of them would take too long.

    Exactly one of ``labels`` and ``number`` is set. Targets and judges know all classes, whichever are attacked.

    Attributes:
        labels: classes by number, from 0.
        number: how many classes to draw at random.
        seed: of the draw.
        balance: draw as many classes from each group of this attribute of the identities, which the dataset reports
            (``Dataset.groups``); if that does not divide, the first groups by name have one more.
    """

    labels: tuple[Annotated[int, Ge(0)], ...] = ()
    number: Annotated[int, Ge(1)] | None = None
    seed: int = 0
    balance: str | None = None

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if bool(self.labels) == (self.number is not None):
            raise ValueError("expected either labels, a list of classes, or number, how many to draw")
        if self.labels and self.balance is not None:
            raise ValueError("balance belongs to number; listed labels are taken as they are")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("expected each of labels once")
        return self


class QueryBudget(Frozen):
    """The most an attack may spend on the target per class; ``None`` is unlimited."""

    forward: Annotated[int, Ge(0)] | None = None
    backward: Annotated[int, Ge(0)] | None = None


class ProtocolPresets(Frozen):
    """Parameters that components take under this protocol unless other ones are asked for.

    They are no part of the digest: whatever a component runs with is in its keys and records, and a component that the
    protocol's author does not know may bring a preset of the protocol's name itself. By kind and registered name, each
    is a mapping of the parameters that differ from the defaults, or the name of one of the component's own presets.

    Attributes:
        like: an installed protocol whose presets stand for components that are not named here.
        dataset: of datasets.
        model: of models and embedders.
        prior: of priors that attacks bring, and of the protocol's.
        defense: of defenses.
        attack: of attacks that ``Protocol.attacks`` does not freeze.
        metric: of metrics.
    """

    like: str | None = None
    dataset: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    model: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    prior: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    defense: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    attack: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    metric: dict[str, str | dict[str, Any]] = Field(default_factory=dict)

    def of(self, kind: str) -> dict[str, str | dict[str, Any]]:
        """Return the presets of a kind by name of the component; none for kinds that have no parameters here."""
        found: dict[str, str | dict[str, Any]] = getattr(self, kind) if kind in PRESET_KINDS else {}
        return found


PRESET_KINDS = tuple(name for name in ProtocolPresets.model_fields if name != "like")


class Protocol(Frozen):
    """Frozen settings that make results comparable.

    Attributes:
        name: name without version.
        version: ``major.minor``.
        summary: one line.
        dataset: where images come from.
        image: canonical shape.
        split: private and public identities, training, validation and test images.
        model: default architecture of the target.
        recipe: training of targets.
        prior: the attacker's prior.
        evaluators: judges trained on the private data, of different families.
        embedder: judge that never saw the private data.
        attack_classes: the classes that attacks, floor and gold are made for and measured on; ``None`` is all. Its
            results are those of another protocol: no board has them beside results on all classes.
        attacks: frozen settings per attack name; an attack that is not listed runs with its preset.
        presets: parameters of components that the protocol does not freeze; outside of the digest.
        undefended: the defense that stands for plain training, the control beside every leakage number.
        floor: the baseline attack that, run on the undefended target, defines the floor control.
        metrics: what is measured.
        headline: the leakage column by which the board ranks.
        budget: per-class limits on queries.
        seeds: target seeds that a complete entry has.
        precision: arithmetic of training and perturbations.
        validation: overrides that turn the protocol into its tuning variant, whose results are never published.
        expected_seconds: rough durations on two CPU cores, for estimates before anything has run: by stage, and as
            ``"prior/<name>"``, ``"reconstruct/<name>"``, ``"measure/<name>"``, with ``"/<preset>"`` if it is another
            than this protocol's; outside of the digest.
    """

    name: str
    version: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    summary: str
    dataset: ComponentChoice
    image: ImageShape
    split: Split
    model: ComponentChoice
    recipe: Recipe
    prior: PriorChoice
    evaluators: tuple[Evaluator, ...]
    embedder: ComponentChoice
    attack_classes: ClassChoice | None = None
    attacks: dict[str, ComponentChoice] = Field(default_factory=dict)
    undefended: ComponentChoice
    floor: ComponentChoice
    metrics: Annotated[tuple[ComponentChoice, ...], MinLen(1)]
    headline: str
    budget: QueryBudget = QueryBudget()
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = (0, 1, 2)
    precision: Literal["fp32"] = "fp32"
    validation: dict[str, Any] = Field(default_factory=dict)
    presets: ProtocolPresets = ProtocolPresets()
    expected_seconds: dict[str, float] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols while it is unset, so that their digests stay."""
        dumped: dict[str, Any] = dump(self)
        if self.attack_classes is None:
            dumped.pop("attack_classes", None)
        return dumped

    @field_validator("evaluators", "metrics")
    @classmethod
    def _each_name_once(cls, parts: Sequence[Evaluator | ComponentChoice]) -> Sequence[Evaluator | ComponentChoice]:
        """Refuse two of one name: results go by name, and one would replace the other."""
        names = [part.name for part in parts]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice")
        return parts

    @field_validator("attacks")
    @classmethod
    def _by_their_names(cls, attacks: dict[str, ComponentChoice]) -> dict[str, ComponentChoice]:
        """Refuse settings that stand under another attack's name, where nothing would find them."""
        for name, choice in attacks.items():
            if choice.name != name:
                raise ValueError(f"what stands under {name!r} is named {choice.name!r}; expected the same name")
        return attacks

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @model_validator(mode="after")
    def _check_recipes(self) -> Self:
        """Refuse, before anything is trained, recipes that this split and these images cannot serve."""
        images = self.split.private * self.split.train
        for owner, recipe in {"recipe": self.recipe, **{e.name: e.recipe for e in self.evaluators}}.items():
            if recipe.validates and self.split.val == 0:
                raise ValueError(
                    f"{owner}: checkpoint {recipe.checkpoint!r} is chosen by validation images, and split.val is 0"
                )
            if recipe.drop_last and images < recipe.batch:
                raise ValueError(
                    f"{owner}: drop_last drops all of {images} training images, for batch is {recipe.batch}"
                )
            colour = max(recipe.augmentation.saturation, recipe.augmentation.hue)
            if colour > 0 and self.image.channels == 1:
                raise ValueError(f"{owner}: saturation and hue cannot change grey images (image.channels is 1)")
        return self
