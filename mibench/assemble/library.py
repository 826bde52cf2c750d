"""What installed plugins say about components, for the pages of boards."""

from __future__ import annotations

from mibench.registry.kinds import SPEC_TYPES
from mibench.registry.papers import paper_of
from mibench.registry.registry import Registry
from mibench.site.library import Library, Method


def library(registry: Registry) -> Library:
    """Return all installed components by kind and name; nothing of them is imported."""
    return {
        (entry.kind, entry.name): Method(
            kind=entry.kind,
            name=entry.name,
            summary=entry.spec.summary,
            paper=paper_of(entry) or "",
            family=getattr(entry.spec, "family", ""),
            access=getattr(entry.spec, "access", "") or getattr(entry.spec, "threat_model", ""),
            limits=tuple(getattr(entry.spec, "limits", ())),
            distribution=entry.distribution,
        )
        for kind in SPEC_TYPES
        if kind not in ("protocol", "executor", "importer")
        for entry in registry.entries(kind)
    }
