"""What is not as it was when a record was measured again, in words: why numbers may have moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mibench.bundles.judges import EMBEDDER
from mibench.bundles.needs import Needs
from mibench.results.record import Record


def notes_on(published: Record, record: Record, needs: Needs, theirs: Collection[str]) -> Iterator[str]:
    """Yield what differs between a record and its regrading beside numbers.

    Args:
        published: the record.
        record: its regrading.
        needs: what it was measured from.
        theirs: keys of what was taken from the bundle.
    """
    if record.protocol.digest != published.protocol.digest:
        before, after = (f"{one.name}@{one.version}" for one in (published.protocol, record.protocol))
        yield f"measured under {after} instead of {before}"
    for role, part in record.components.items():
        old = published.components.get(role)
        if old is not None and (part.version, part.params) != (old.version, old.params):
            yield f"{role.replace(':', ' ')}: version {old.version} then, {part.version} now"
        elif role == EMBEDDER and old is not None and part.source_digest != old.source_digest:
            yield f"the code of the embedder {part.name} is another ({part.distribution} {part.distribution_version})"
    if record.inputs.get("data") != published.inputs.get("data"):
        yield "the private images here are not those of the record, bit by bit: numbers can be compared, not be equal"
    for role, node in needs.judges.items():
        if record.inputs.get(role) != published.inputs.get(role):
            yield f"the {role.replace(':', ' ')} of this store is another one: numbers can be compared, not be equal"
        elif node.key in theirs:
            yield f"the {role.replace(':', ' ')} came with the bundle; --own-judges takes one of your own"
    then, now = published.environment, record.environment
    for name in ("threads", "device"):
        if (was := getattr(then, name)) is not None and was != (here := getattr(now, name)):
            yield f"{name}: {was} then, {here} now"
