"""The parts of a protocol that name components: which, with which parameters, and trained how."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mibench.protocol.frozen import Frozen, without
from mibench.protocol.recipe import Recipe


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


class PublicSource(Frozen):
    """Public images from elsewhere than the protocol's own public identities.

    Attributes:
        dataset: a dataset without any private identity of the protocol.
        identities: how many of its identities to take, from the first on.
        images: which pictures of each: ``all`` images, or one of the dataset's ``portraits``, as collections of aligned
            photographs have.
    """

    dataset: ComponentChoice
    identities: Annotated[int, Ge(1)]
    images: Literal["all", "portraits"] = "all"

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first protocols while it is unset, so that their digests stay."""
        return without(dump(self), *(["images"] if self.images == "all" else []))


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
        recipe: how it is trained; with ``epochs: 0`` the model's file holds it trained.
        seed: training seed, different from every target's.
        least_accuracy: accuracy on the private test images below which it may not judge; ``None`` asks for none. One
            that comes trained must state it.
    """

    name: str
    model: ComponentChoice
    recipe: Recipe
    seed: int
    least_accuracy: Annotated[float, Gt(0), Le(1)] | None = None

    @model_validator(mode="after")
    def _check_trust(self) -> Self:
        if self.recipe.epochs == 0 and self.least_accuracy is None:
            raise ValueError(
                f"evaluator {self.name!r} is not trained here (recipe.epochs 0): state least_accuracy, the accuracy on"
                " private test images below which it may not judge"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(dump(self), *(["least_accuracy"] if self.least_accuracy is None else []))


class QueryBudget(Frozen):
    """The most an attack may spend on the target per class; ``None`` is unlimited."""

    forward: Annotated[int, Ge(0)] | None = None
    backward: Annotated[int, Ge(0)] | None = None
