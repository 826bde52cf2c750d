"""The shape of a protocol file. Everything in it is frozen: its digest goes into every record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, MinLen
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from mibench.protocol.choices import ComponentChoice as ComponentChoice
from mibench.protocol.choices import Evaluator as Evaluator
from mibench.protocol.choices import PriorChoice as PriorChoice
from mibench.protocol.choices import PublicSource as PublicSource
from mibench.protocol.choices import QueryBudget as QueryBudget
from mibench.protocol.component_presets import PRESET_KINDS as PRESET_KINDS
from mibench.protocol.component_presets import ProtocolPresets as ProtocolPresets
from mibench.protocol.follows import Follows as Follows
from mibench.protocol.follows import age
from mibench.protocol.frozen import Frozen as Frozen
from mibench.protocol.frozen import without
from mibench.protocol.image import ImageShape as ImageShape
from mibench.protocol.names import Name, Version
from mibench.protocol.people import ClassChoice as ClassChoice
from mibench.protocol.people import Gallery as Gallery
from mibench.protocol.people import Split as Split
from mibench.protocol.recipe import CHECKPOINT_RULE as CHECKPOINT_RULE
from mibench.protocol.recipe import Augmentation as Augmentation
from mibench.protocol.recipe import Recipe as Recipe

NAME_OR_PRESET = r"^[^/\s]+(/[^/\s]+)?$"
"""What names an attack: ``name`` or ``name/preset``."""
NEW_FIELDS = ("attack_classes", "gallery", "folds", "priors", "suite", "lookalike", "follows")
"""Fields that are younger than the first protocols."""
OWN_FIELDS = ("name", "version", "follows")
"""Fields that say which protocol it is; its variants share them."""


class Protocol(Frozen):
    """Frozen settings that make results comparable.

    Attributes:
        name: name without version.
        version: ``major.minor``.
        summary: one line.
        follows: the version before this one, and what becomes of its entries; outside of the digest.
        dataset: where images come from.
        image: canonical shape.
        split: private and public identities, training, validation and test images.
        model: default architecture of the target.
        recipe: training of targets.
        prior: the attacker's prior.
        evaluators: judges trained on the private data, of different families.
        embedder: judge that never saw the private data.
        gallery: among whom judges of identity look; ``None`` for the private people by their training images.
        folds: how many times the private people are others. Those of a target with seed s are of fold s modulo this
            number; no person is private in two folds.
        attack_classes: the classes that attacks, floor and gold are made for and measured on; ``None`` is all. Its
            results are those of another protocol: no board has them beside results on all classes.
        attacks: frozen settings per attack name; an attack that is not listed runs with its preset.
        priors: frozen settings of priors that attacks bring, by name; one that is not listed takes its preset.
        suite: attacks, each as ``name`` or ``name/preset``, that a complete entry has met with all seeds. They are what
            runs if a request names none.
        presets: parameters of components that the protocol does not freeze; outside of the digest.
        undefended: the defense that stands for plain training, the control beside every leakage number.
        floor: the baseline attack that, run on the undefended target, defines the floor control.
        lookalike: the baseline attack that, run on the undefended target, delivers public images that happen to look
            alike, a further control; ``None`` for none.
        metrics: what is measured.
        headline: the leakage column by which the board ranks.
        budget: per-class limits on queries.
        seeds: target seeds that a complete entry has.
        precision: arithmetic of training and perturbations.
        validation: overrides that turn the protocol into its tuning variant, whose results are never published.
        expected_seconds: rough durations on one machine, for estimates before anything has run: by stage, and as
            ``"prior/<name>"``, ``"reconstruct/<name>"``, ``"measure/<name>"``, with ``"/<preset>"`` if it is another
            than this protocol's; outside of the digest.
        expected_on: the machine that ``expected_seconds`` are of; outside of the digest.
        resources: what such a run takes, in words, by what is taken (``"GPU memory"``, ``"disk"``); outside of the
            digest.
    """

    name: Name
    version: Version
    summary: str
    follows: Follows | None = None
    dataset: ComponentChoice
    image: ImageShape
    split: Split
    model: ComponentChoice
    recipe: Recipe
    prior: PriorChoice
    evaluators: tuple[Evaluator, ...]
    embedder: ComponentChoice
    gallery: Gallery | None = None
    folds: Annotated[int, Ge(1)] = 1
    attack_classes: ClassChoice | None = None
    attacks: dict[str, ComponentChoice] = Field(default_factory=dict)
    priors: dict[str, ComponentChoice] = Field(default_factory=dict)
    suite: tuple[Annotated[str, Field(pattern=NAME_OR_PRESET)], ...] = ()
    undefended: ComponentChoice
    floor: ComponentChoice
    lookalike: ComponentChoice | None = None
    metrics: Annotated[tuple[ComponentChoice, ...], MinLen(1)]
    headline: str
    budget: QueryBudget = QueryBudget()
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = (0, 1, 2)
    precision: Literal["fp32"] = "fp32"
    validation: dict[str, Any] = Field(default_factory=dict)
    presets: ProtocolPresets = ProtocolPresets()
    expected_seconds: dict[str, float] = Field(default_factory=dict)
    expected_on: str = "two CPU cores"
    resources: dict[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols while it is unset, so that their digests stay."""
        fields = Protocol.model_fields
        unset = {
            name: getattr(self, name) == fields[name].get_default(call_default_factory=True) for name in NEW_FIELDS
        }
        return without(dump(self), *(name for name, absent in unset.items() if absent))

    @field_validator("evaluators", "metrics")
    @classmethod
    def _each_name_once(cls, parts: Sequence[Evaluator | ComponentChoice]) -> Sequence[Evaluator | ComponentChoice]:
        """Refuse two of one name: results go by name, and one would replace the other."""
        names = [part.name for part in parts]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice")
        return parts

    @field_validator("validation")
    @classmethod
    def _of_one_name(cls, over: dict[str, Any]) -> dict[str, Any]:
        """Refuse a variant that would be another protocol's."""
        if own := [name for name in OWN_FIELDS if name in over]:
            raise ValueError(f"expected settings, got {own[0]!r}, which is the same in both variants; remove it")
        return over

    @field_validator("attacks", "priors")
    @classmethod
    def _by_their_names(cls, choices: dict[str, ComponentChoice]) -> dict[str, ComponentChoice]:
        """Refuse settings that stand under another component's name, where nothing would find them."""
        for name, choice in choices.items():
            if choice.name != name:
                raise ValueError(f"what stands under {name!r} is named {choice.name!r}; expected the same name")
        return choices

    @field_validator("suite", "seeds")
    @classmethod
    def _each_once(cls, listed: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if twice := [one for one in listed if listed.count(one) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice")
        return listed

    @model_validator(mode="after")
    def _every_fold_has_a_seed(self) -> Self:
        """Refuse folds whose people no complete entry would have."""
        if missing := set(range(self.folds)) - {seed % self.folds for seed in self.seeds}:
            raise ValueError(
                f"folds: no seed of {list(self.seeds)} makes the people of fold {min(missing)} private; a target with"
                f" seed s has those of fold s modulo {self.folds}"
            )
        return self

    @model_validator(mode="after")
    def _follows_an_older_one(self) -> Self:
        """Refuse to follow another protocol, or a version that is not older."""
        if self.follows is not None:
            name, _, version = self.follows.protocol.partition("@")
            if name != self.name or age(version) >= age(self.version):
                raise ValueError(f"follows: expected an older version of {self.name!r}, got {self.follows.protocol!r}")
        return self

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @model_validator(mode="after")
    def _check_recipes(self) -> Self:
        """Refuse, before anything is trained, recipes that this split and these images cannot serve."""
        images = self.split.private * self.split.train
        if self.recipe.epochs == 0:
            raise ValueError("recipe: targets are trained here; set epochs to 1 or more")
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
