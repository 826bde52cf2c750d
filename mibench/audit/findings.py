"""What the records of an audit say, in words and numbers for readers who do not know the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mibench.audit.prepare import Prepared
from mibench.results.columns import attack_accuracies, clean_accuracy
from mibench.results.differences import to_control
from mibench.results.display import short
from mibench.results.flags import FOREIGN
from mibench.results.normalize import control, headline
from mibench.results.record import MetricValue, Record

HALF = 0.5
"""A person counts as recognised if this share of the images of them lead the judge to them first."""


@dataclass(frozen=True)
class AttackFound:
    """What one attack found.

    Attributes:
        name: what to type for it.
        access: what it needs of the network.
        recognised: numbers of the people whom the independent judge recognises, from 0 in the order of their folders.
        share: share of its images that lead the judge to the right person, with its 95 % interval.
        above_floor: difference to images that nobody optimised, with its 95 % interval.
        evaluators: share of its images that networks trained on the private photographs take for the right person.
        twin: people who are recognised in images from the twin; ``None`` without one.
        seconds: that it took.
        forward: images that it passed through the network.
        backward: images whose gradient it took.
        flags: warnings, but for the one that every audit raises.
    """

    name: str
    access: str
    recognised: list[int]
    share: MetricValue
    above_floor: tuple[float, tuple[float, float] | None] | None
    evaluators: float | None
    twin: int | None
    seconds: float
    forward: int
    backward: int
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Findings:
    """What an audit found.

    Attributes:
        people: number of private people.
        attacks: by attack, the one that finds most first.
        recognised: people who are recognised in images of at least one attack.
        floor: people who are recognised in images that nobody optimised.
        lookalike: people who are recognised in photographs of public people that look like them; ``None`` if not known.
        gold: people who are recognised on photographs of themselves.
        accuracy: of the network on held-out photographs.
        twin: name of the model that was trained beside the network.
        twin_accuracy: its accuracy.
        failed: attack and reason of what failed.
    """

    people: int
    attacks: list[AttackFound]
    recognised: list[int]
    floor: int
    lookalike: int | None
    gold: int
    accuracy: float | None
    twin: str | None
    twin_accuracy: float | None
    failed: list[tuple[str, str]]

    @property
    def judge_is_blind(self) -> bool:
        """Whether the independent judge does not even know these people from photographs of themselves."""
        return self.gold < HALF * self.people

    @property
    def leaks(self) -> bool:
        """Whether at least one attack is better than chance, beyond its interval."""
        ends = [found.above_floor[1][0] for found in self.attacks if found.above_floor and found.above_floor[1]]
        return any(low > 0 for low in ends)


def find(prepared: Prepared, records: Sequence[Record]) -> Findings:
    """Return what the records of an audit say."""
    done = [record for record in records if record.status == "done" and headline(record)]
    own = [record for record in done if record.cell.model == prepared.model]
    twins = {record.cell.attack_label: record for record in done if record.cell.model == prepared.twin}
    attacks = [_attack(record, twins.get(record.cell.attack_label)) for record in own]
    attacks.sort(key=lambda found: (-len(found.recognised), -found.share.value))
    first = own[0] if own else None
    return Findings(
        people=len(prepared.people.names),
        attacks=attacks,
        recognised=sorted({label for found in attacks for label in found.recognised}),
        floor=_count(first, "floor") or 0,
        lookalike=_count(first, "lookalike"),
        gold=_count(first, "gold") or 0,
        accuracy=_accuracy(first),
        twin=prepared.twin,
        twin_accuracy=_accuracy(next(iter(twins.values()), None)),
        failed=[(record.cell.attack_label, _reason(record)) for record in records if record.status == "failed"],
    )


def recognised(metric: MetricValue | None) -> list[int]:
    """Return the classes that a metric finds in at least half of their images."""
    values = metric.per_class if metric else []
    return [label for label, value in enumerate(values) if value is not None and value >= HALF]


def _attack(record: Record, twin: Record | None) -> AttackFound:
    share, gap = headline(record), to_control({"": [record]}, "floor")
    if share is None:
        raise ValueError(f"the record of {record.cell.attack_label} has no headline")
    judged = attack_accuracies(record.metrics).values()
    attack, queries = record.components["attack"], record.ledger.total
    return AttackFound(
        name=record.cell.attack_label,
        access=attack.access or "white-box",
        recognised=recognised(share),
        share=share,
        above_floor=(gap.value, gap.ci95) if gap else None,
        evaluators=max((metric.value for metric in judged), default=None),
        twin=len(recognised(headline(twin))) if twin else None,
        seconds=record.timings.get("reconstruct", 0.0),
        forward=queries.forward if queries else 0,
        backward=queries.backward if queries else 0,
        flags=[flag.text for flag in record.flags if flag.id != FOREIGN],
    )


def _count(record: Record | None, which: str) -> int | None:
    metric = control(record, which) if record else None
    return None if metric is None else len(recognised(metric))


def _accuracy(record: Record | None) -> float | None:
    found = clean_accuracy(record.metrics) if record else None
    return found.value if found else None


def _reason(record: Record) -> str:
    return f"{record.failure.stage}: {record.failure.error}" if record.failure else "no reason was stated"


def verdict(found: Findings) -> str:
    """Return one sentence for somebody who reads no more than that."""
    if not found.attacks:
        return "No attack came to its end, so nothing is known."
    who = f"{len(found.recognised)} of {found.people} people are recognised in images that attacks made of the network"
    beside = f"{found.floor} by chance alone, {found.gold} on real photographs of them"
    best = found.attacks[0]
    if found.judge_is_blind:
        judged = short(best.evaluators)
        return (
            f"The independent judge does not know these people even from their own photographs ({found.gold} of"
            f" {found.people}), so it cannot say what leaks. Judges trained on the private photographs take {judged} of"
            f" the images of {best.name} for the right person."
        )
    if found.leaks:
        return f"The network leaks what its people look like: {who} ({beside})."
    return f"These attacks found no more than chance: {who} ({beside}). A stronger attack may find more."
