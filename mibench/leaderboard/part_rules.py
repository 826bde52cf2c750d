"""Rules about the parts of a record (MB1xx): what every record of a protocol has."""

from __future__ import annotations

from collections.abc import Iterator

from mibench.leaderboard.finding import Problem, differs
from mibench.leaderboard.record_rules import is_sha256
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.schema import Protocol
from mibench.results.flags import compute_flags
from mibench.results.record import Record

FREE_BYTES, BYTES_PER_IMAGE = 256 * 1024, 100
"""Published records have 60 to 80 KiB for some 5 000 images, counted once for each column."""


def components_are_complete(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """Every component that the protocol prescribes is there, of its kind and by its name."""
    for role, (kind, name) in _prescribed(protocol.protocol).items():
        part = record.components.get(role)
        if part is None:
            yield differs(f"components.{role}", f"{kind} {name or 'with its parameters'}", "nothing")
        elif part.kind != kind:
            yield differs(f"components.{role}.kind", kind, part.kind)
        elif name and part.name != name:
            yield differs(f"components.{role}.name", name, part.name)
        elif not is_sha256(part.source_digest):
            yield differs(f"components.{role}.source_digest", "a sha256", part.source_digest)


def inputs_are_complete(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """Digests of all that the numbers were made from."""
    roles = ["data", "prior", "target", "reconstructions"]
    for role in [*roles, *(f"evaluator:{judge.name}" for judge in protocol.protocol.evaluators)]:
        stated = record.inputs.get(role, "nothing")
        if not is_sha256(stated):
            yield differs(f"inputs.{role}", "the sha256 of an artifact", stated)


def classes_are_complete(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """Each private identity is one class."""
    number = protocol.protocol.split.private
    if set(record.classes) != set(map(str, range(number))):
        yield differs(
            "classes", f"{number} classes, 0 to {number - 1}", f"{len(record.classes)} of other names or number"
        )
    elif len(set(record.classes.values())) != number or min(record.classes.values()) < 0:
        yield differs("classes", f"{number} different identities", sorted(record.classes.values()))


def ledger_is_complete(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """Queries of every class and their sum, within the protocol's budget."""
    ledger, budget = record.ledger, protocol.protocol.budget.model_dump(mode="json")
    attacked = set(record.classes) if record.attacked is None else set(map(str, record.attacked))
    if set(ledger.per_class) != attacked:
        got = "others" if ledger.per_class else "nothing"
        yield differs("ledger.per_class", f"queries of {len(attacked)} classes", got)
        return
    if ledger.shared is None or ledger.total is None:
        yield differs("ledger", "queries as shared, per_class and total", "others")
        return
    summed = ledger.shared.plus(list(ledger.per_class.values()))
    if ledger.total != summed:
        yield differs("ledger.total", f"the sum {summed.model_dump()}", ledger.total.model_dump())
    stated = ledger.budget.model_dump() if ledger.budget else None
    if stated != budget:
        yield differs("ledger.budget", f"the protocol's {budget}", stated)
    if ledger.trace is None:
        yield differs("ledger.trace", "first and last loss, or an empty object", "nothing")
    yield from _failures(record)


def self_check_is_there(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """The defense said whether it was active."""
    if record.self_check.active is None:
        yield differs("self_check.active", "true or false, as the defense reported", None)


def flags_are_computed(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """A record states the flags that its own numbers raise, no fewer and no others."""
    stated, computed = ({flag.id for flag in flags} for flags in (record.flags, compute_flags(record)))
    if stated != computed:
        yield differs("flags", ", ".join(sorted(computed)) or "none", ", ".join(sorted(stated)) or "none")


def size_is_that_of_numbers(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """A record holds some numbers for each image and little else; boards are kept for ever."""
    images = sum(metric.n for metrics in (record.metrics, *record.controls.values()) for metric in metrics.values())
    limit, size = FREE_BYTES + BYTES_PER_IMAGE * images, len(record.model_dump_json())
    if size > limit:
        yield differs("size", f"at most {limit // 1024} KiB for numbers of {images} images", f"{size // 1024} KiB")


def _prescribed(protocol: Protocol) -> dict[str, tuple[str, str]]:
    """Return kind and name of each role; the name is empty where cells differ."""
    return {
        "dataset": ("dataset", protocol.dataset.name),
        "model": ("model", ""),
        "defense": ("defense", ""),
        "attack": ("attack", ""),
        "prior": ("prior", ""),
        "embedder": ("model", protocol.embedder.name),
        **{f"evaluator:{judge.name}": ("model", judge.model.name) for judge in protocol.evaluators},
        **{f"metric:{metric.name}": ("metric", metric.name) for metric in protocol.metrics},
    }


def _failures(record: Record) -> Iterator[Problem]:
    """Classes that failed, and who chose among images, are named as they can be."""
    failed, chosen = record.ledger.failed, record.ledger.chosen_by
    if not set(failed) <= set(record.classes):
        yield differs("ledger.failed", "attacked classes and the reason of each", failed)
    if chosen is not None and chosen not in record.inputs:
        yield differs("ledger.chosen_by", "one of the evaluators", chosen)
