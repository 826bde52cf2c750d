"""What every cell of a protocol shares: people, data, judges, the protocol's own prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mibench.api.errors import unknown
from mibench.plan.choose import Chooser
from mibench.plan.resolve import Resolved
from mibench.protocol.schema import Component, Protocol
from mibench.protocol.split import Identities, choose_classes, split_identities


@dataclass(frozen=True)
class ProtocolContext:
    """What every cell of a protocol shares.

    Attributes:
        protocol: the protocol.
        identities: private and public identities.
        split_name: ``"test"``, or ``"val"`` for the validation variant.
        dataset: resolved dataset.
        prior: resolved prior.
        source: dataset that the prior learns from, if it is not the protocol's.
        embedder: resolved embedder.
        evaluators: resolved evaluator architectures by name.
        metrics: resolved metrics.
        attacked: classes that are attacked; ``None`` is all.
    """

    protocol: Protocol
    identities: Identities
    split_name: Literal["test", "val"]
    dataset: Resolved
    prior: Resolved
    source: Resolved | None
    embedder: Resolved
    evaluators: Mapping[str, Resolved]
    metrics: tuple[Resolved, ...]
    attacked: list[int] | None = None


def make_context(chooser: Chooser) -> ProtocolContext:
    """Resolve what a protocol freezes.

    Raises:
        UsageError: if the dataset has too few people, or for a component that does not exist.
    """
    protocol, variant = chooser.protocol, chooser.loaded.variant
    dataset = chooser.frozen("dataset", protocol.dataset)
    identities = split_identities(protocol.split, chooser.facts.identities(dataset.entry()))
    return ProtocolContext(
        protocol=protocol,
        identities=identities,
        split_name="test" if variant == "test" else "val",
        dataset=dataset,
        prior=chooser.frozen("prior", protocol.prior),
        source=chooser.frozen("dataset", protocol.prior.source.dataset) if protocol.prior.source else None,
        embedder=_embedder(chooser, protocol.embedder),
        evaluators={choice.name: chooser.frozen("model", choice.model) for choice in protocol.evaluators},
        metrics=tuple(chooser.frozen("metric", choice) for choice in protocol.metrics),
        attacked=_attacked(chooser, dataset, identities.private),
    )


def _attacked(chooser: Chooser, dataset: Resolved, private: Sequence[int]) -> list[int] | None:
    choice = chooser.protocol.attack_classes
    if choice is None:
        return None
    return choose_classes(choice, private, chooser.facts.groups(dataset.entry()) if choice.balance else {})


def _embedder(chooser: Chooser, choice: Component) -> Resolved:
    found = chooser.frozen("model", choice)
    if getattr(found.registered.spec, "role", "") != "embedder":
        models = chooser.facts.registry.entries("model")
        names = [entry.spec.name for entry in models if getattr(entry.spec, "role", "") == "embedder"]
        raise unknown("embedder", choice.name, names)
    return found
