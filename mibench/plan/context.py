"""What every cell of a protocol, or of one fold of it, shares: people, data, judges, the protocol's own prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mibench.api.errors import UsageError, unknown
from mibench.plan.choose import Chooser
from mibench.plan.resolve import Resolved
from mibench.protocol.attacked import choose_classes
from mibench.protocol.identities import Folded, Identities, fold_identities, split_identities
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.schema import ComponentChoice, Gallery, Protocol


@dataclass(frozen=True)
class ProtocolContext:
    """What every cell of a protocol shares, or of one fold of it.

    Attributes:
        protocol: the protocol.
        identities: private and public identities, and distractors.
        gallery: among whom judges of identity look.
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
    gallery: Gallery
    split_name: Literal["test", "val"]
    dataset: Resolved
    prior: Resolved
    source: Resolved | None
    embedder: Resolved
    evaluators: Mapping[str, Resolved]
    metrics: tuple[Resolved, ...]
    attacked: list[int] | None = None


def make_context(chooser: Chooser, fold: int = 0) -> ProtocolContext:
    """Resolve what a protocol freezes.

    Args:
        chooser: of the protocol.
        fold: whose people are private.

    Raises:
        UsageError: if the dataset has too few people or no pictures that the gallery wants, or for a component that
            does not exist.
    """
    protocol, variant = chooser.protocol, chooser.loaded.variant
    dataset = chooser.frozen("dataset", protocol.dataset)
    identities = _identities(chooser.loaded, fold, chooser.facts.identities(dataset.entry()))
    gallery = protocol.gallery or Gallery()
    if gallery.images == "portraits" and not dataset.traits.has_portraits:
        raise UsageError(
            f"{protocol.id} compares with portraits, and the dataset {dataset.name!r} has none; let gallery.images be"
            " 'train', or take a dataset with portraits"
        )
    return ProtocolContext(
        protocol=protocol,
        identities=identities,
        gallery=gallery,
        split_name="test" if variant == "test" else "val",
        dataset=dataset,
        prior=chooser.frozen("prior", protocol.prior),
        source=_source(chooser),
        embedder=_embedder(chooser, protocol.embedder),
        evaluators={choice.name: chooser.frozen("model", choice.model) for choice in protocol.evaluators},
        metrics=tuple(chooser.frozen("metric", choice) for choice in protocol.metrics),
        attacked=_attacked(chooser, dataset, identities.private),
    )


def _source(chooser: Chooser) -> Resolved | None:
    """Resolve the dataset from elsewhere that the prior learns from."""
    choice = chooser.protocol.prior.source
    if choice is None:
        return None
    dataset = chooser.frozen("dataset", choice.dataset)
    if choice.images == "portraits" and not dataset.traits.has_portraits:
        raise UsageError(
            f"the prior of {chooser.protocol.id} learns from portraits, and the dataset {dataset.name!r} has none; let"
            " prior.source.images be 'all', or take a dataset with portraits"
        )
    return dataset


def _identities(loaded: LoadedProtocol, fold: int, available: int) -> Identities:
    """Choose the people of a fold; a protocol that has neither a gallery nor folds has those that it always had."""
    protocol, reported = loaded.protocol, loaded.reported
    if all(one.gallery is None and one.folds == 1 for one in (protocol, reported)):
        return split_identities(protocol.split, available)
    tuned = loaded.tuned
    return fold_identities(
        Folded(reported.split, reported.folds),
        Folded(tuned.split, tuned.folds) if tuned else None,
        fold=fold,
        available=available,
        distractors=protocol.gallery.distractors if protocol.gallery else 0,
        validation=loaded.variant == "validation",
    )


def _attacked(chooser: Chooser, dataset: Resolved, private: Sequence[int]) -> list[int] | None:
    choice = chooser.protocol.attack_classes
    if choice is None:
        return None
    return choose_classes(choice, private, chooser.facts.groups(dataset.entry()) if choice.balance else {})


def _embedder(chooser: Chooser, choice: ComponentChoice) -> Resolved:
    found = chooser.frozen("model", choice)
    if getattr(found.registered.spec, "role", "") != "embedder":
        models = chooser.facts.registry.entries("model")
        names = [entry.spec.name for entry in models if getattr(entry.spec, "role", "") == "embedder"]
        raise unknown("embedder", choice.name, names)
    return found
