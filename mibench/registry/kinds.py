"""The kinds of components, and the spec that describes each."""

from __future__ import annotations

from mibench.api.errors import unknown
from mibench.api.specs import (
    AttackSpec,
    DatasetSpec,
    DefenseSpec,
    ExecutorSpec,
    ImporterSpec,
    Kind,
    MetricSpec,
    ModelSpec,
    PriorSpec,
    ProtocolSpec,
    Spec,
    StudySpec,
)

SPEC_TYPES: dict[Kind, type[Spec]] = {
    "attack": AttackSpec,
    "dataset": DatasetSpec,
    "defense": DefenseSpec,
    "executor": ExecutorSpec,
    "importer": ImporterSpec,
    "metric": MetricSpec,
    "model": ModelSpec,
    "prior": PriorSpec,
    "protocol": ProtocolSpec,
    "study": StudySpec,
}


def plural(kind: Kind) -> str:
    """Return what several components of a kind are called, as in the name of their hook."""
    return "studies" if kind == "study" else f"{kind}s"


def as_kind(word: str) -> Kind:
    """Read a kind in singular or plural, as users type it.

    Raises:
        UsageError: if there is no such kind.
    """
    for kind in SPEC_TYPES:
        if word in {kind, plural(kind)}:
            return kind
    raise unknown("kind of component", word, SPEC_TYPES)
