"""The parts of a protocol that name components: which, with which parameters, and trained how."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from pydantic import Field

from mibench.protocol.frozen import Frozen
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


class QueryBudget(Frozen):
    """The most an attack may spend on the target per class; ``None`` is unlimited."""

    forward: Annotated[int, Ge(0)] | None = None
    backward: Annotated[int, Ge(0)] | None = None
