"""Boards for attackers who see less: only what an API returns, or only its decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from mibench.protocol.schema import Protocol
from mibench.results.record import Record

Access = Literal["scores", "labels"]
ATTACKS: Mapping[Access, tuple[str, ...]] = {"scores": ("scores", "labels"), "labels": ("labels",)}
"""Accesses of the attacks that such an attacker can run: who sees scores sees the decision too."""
WORDS: Mapping[Access, str] = {"scores": "attackers who see scores", "labels": "attackers who see labels alone"}


def accesses(records: Sequence[Record]) -> list[Access]:
    """Return the narrower accesses with which anything was attacked, beside controls."""
    used = {part.access for record in records if (part := record.components.get("attack")) and not part.baseline}
    return [access for access, allowed in ATTACKS.items() if used & set(allowed)]


def narrowed(records: Sequence[Record], protocol: Protocol, access: Access) -> tuple[list[Record], Protocol]:
    """Return the records of attacks that such an attacker can run, and a protocol that requires those of its suite.

    Which access an attack of the suite needs is known from records; one that nobody has run is not required here.
    Controls are left out.
    """
    kept = [record for record in records if _can_run(record, access)]
    labels = {record.cell.attack_label for record in kept}
    suite = tuple(label for label in protocol.suite if label in labels)
    return kept, protocol.model_copy(update={"suite": suite})


def _can_run(record: Record, access: Access) -> bool:
    part = record.components.get("attack")
    return part is not None and not part.baseline and part.access in ATTACKS[access]
