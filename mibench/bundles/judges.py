"""Who judged: identities that a bundle states, whether or not it holds the weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mibench.bundles.manifest import JudgeEntry
from mibench.bundles.needs import Needs
from mibench.results.record import Record

EMBEDDER = "embedder"


def judges_of(records: Sequence[Record], needs: Sequence[Needs], packed: Collection[str]) -> list[JudgeEntry]:
    """Return every judge of some records, each once.

    Args:
        records: the records.
        needs: of each.
        packed: keys of the artifacts in the bundle.
    """
    found: dict[tuple[str, str], JudgeEntry] = {}
    for record, need in zip(records, needs, strict=True):
        if part := record.components.get(EMBEDDER):
            found[EMBEDDER, ""] = JudgeEntry(
                role=EMBEDDER, name=part.name, version=part.version, distribution=part.distribution
            )
        for role, node in need.judges.items():
            part = record.components[role]
            found[role, node.key] = JudgeEntry(
                role=role,
                name=part.name,
                version=part.version,
                distribution=part.distribution,
                key=node.key,
                content=record.inputs.get(role, ""),
                packed=node.key in packed,
            )
    return list(found.values())
