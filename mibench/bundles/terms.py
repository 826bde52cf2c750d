"""Whether reconstructions may be published: what the data sets say that they come from."""

from __future__ import annotations

from collections.abc import Sequence

from mibench.api.errors import UsageError
from mibench.api.specs import DatasetSpec
from mibench.bundles.manifest import Terms
from mibench.plan.cells import Cell
from mibench.registry.registry import Registry


def terms_of(cells: Sequence[Cell], registry: Registry) -> list[Terms]:
    """Return the terms of the private data, and of what priors learnt from where that is another data set."""
    shared = [cell.graph.fixed for cell in cells]
    names = dict.fromkeys(one.name for fixed in shared for one in (fixed.dataset, fixed.source) if one)
    return [_terms(registry, name) for name in names]


def require_publishable(terms: Sequence[Terms]) -> None:
    """Refuse to pack reconstructions for others that must stay private.

    Raises:
        UsageError: with the data set's own words.
    """
    for one in terms:
        if one.reconstructions != "publish":
            why = one.terms or "Its plugin does not say that they may be."
            raise UsageError(
                f"reconstructions of {one.dataset} ({one.licence}) must not be published. {why}"
                " With --private a bundle is packed for yourself and for people who may see this data."
            )


def _terms(registry: Registry, name: str) -> Terms:
    spec = registry.get("dataset", name).spec
    stated = spec.reconstructions if isinstance(spec, DatasetSpec) else "private"
    words = spec.terms if isinstance(spec, DatasetSpec) else ""
    return Terms(dataset=name, licence=spec.licence, reconstructions=stated, terms=words)
