"""Which attacks a row has met, which of them make its headline, and what is missing for a rank."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mibench.protocol.schema import Protocol
from mibench.results.flags import OUTSIDE, PEEKED, compute_flags
from mibench.results.record import Flag, Record

INCOMPLETE = "incomplete"
"""Flag of a row that has not met all attacks of the protocol's suite with all seeds."""
UNLISTED = "no-listed-attack"
"""Flag of a row that no attack of the protocol was run against: others alone, weak ones even, cannot rank a defense."""

Attacks = Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Met:
    """The attacks on one row.

    Attributes:
        promised: those that the defense means to withstand, and that no evaluator guided; all, if there are no such.
        counted: those among them whose worst case is the headline: the protocol's suite, or all without a suite.
        missing: seeds that are missing, by attack of the suite.
        flags: why the row has no rank for that.
    """

    promised: Attacks
    counted: Attacks
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()


def met(attacks: Attacks, protocol: Protocol | None) -> Met:
    """Sort the attacks on a row.

    Args:
        attacks: records by name of the attack.
        protocol: the board's; ``None`` to count everything.
    """
    promised = {name: group for name, group in attacks.items() if not {OUTSIDE, PEEKED} & flag_ids(group)} or attacks
    records = [record for group in attacks.values() for record in group]
    if protocol is None:
        return Met(promised, promised)
    if not protocol.suite:
        return Met(promised, promised, flags=_unlisted(records, protocol))
    required = {name: group for name, group in attacks.items() if _in_suite(group[0], protocol)}
    missing = _missing(required, protocol)
    sound = {name: group for name, group in required.items() if missing or _seeds(group) >= set(protocol.seeds)}
    counted = {name: group for name, group in sound.items() if name in promised} or sound or promised
    return Met(promised, counted, missing, (_incomplete(missing),) if missing else ())


def flag_ids(records: Sequence[Record]) -> set[str]:
    """Return the flags of records, computed and stated."""
    return {flag.id for record in records for flag in (*compute_flags(record), *record.flags)}


def completing_command(record: Record, missing: Mapping[str, tuple[int, ...]], protocol: str | None = None) -> str:
    """Return the command that runs what a row lacks; what a store holds already is taken from there.

    Args:
        record: one of the row's; its command says with which settings.
        missing: seeds by attack.
        protocol: ``name@version`` to run it under; ``None`` for the record's own.
    """
    cell = record.cell
    words = {"--protocol": f"{record.protocol.name}@{record.protocol.version}"}
    words |= {"--model": cell.model, "--defense": cell.defense}
    settings = []
    for option, value in _options(record.command):
        if option in words:
            words[option] = value
        elif option == "--set" and value.partition(".")[0] in {
            cell.model,
            "model",
            "defense",
            *cell.defense.split("+"),
        }:
            settings += [option, value]
    words["--protocol"] = protocol or words["--protocol"]
    parts = ["mibench", "run", *(word for pair in words.items() for word in pair), *settings]
    parts += [word for attack in missing for word in ("--attack", attack)]
    seeds = sorted({seed for some in missing.values() for seed in some})
    return shlex.join([*parts, *(word for seed in seeds for word in ("--seed", str(seed)))])


def _options(command: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation mark without its partner
        return []
    return [(word, value) for word, value in pairwise(words) if word.startswith("--")]


def _in_suite(record: Record, protocol: Protocol) -> bool:
    attack = record.components.get("attack")
    return record.cell.attack_label in protocol.suite and not (attack and attack.overridden)


def _missing(required: Attacks, protocol: Protocol) -> dict[str, tuple[int, ...]]:
    """Return the missing seeds of each attack of the suite, of the most complete of its variants."""
    found = {}
    for label in protocol.suite:
        variants = [_seeds(group) for group in required.values() if group[0].cell.attack_label == label]
        gaps = [set(protocol.seeds) - seeds for seeds in variants] or [set(protocol.seeds)]
        if least := min(gaps, key=len):
            found[label] = tuple(sorted(least))
    return found


def _seeds(records: Sequence[Record]) -> set[int]:
    return {record.cell.seed for record in records}


def _incomplete(missing: Mapping[str, tuple[int, ...]]) -> Flag:
    parts = [f"{attack} (seed {', '.join(map(str, seeds))})" for attack, seeds in missing.items()]
    return Flag(id=INCOMPLETE, text=f"not met, of the attacks that the protocol requires: {'; '.join(parts)}")


def _unlisted(records: Sequence[Record], protocol: Protocol) -> tuple[Flag, ...]:
    listed = protocol.attacks
    if not listed or any(record.cell.attack_label in listed for record in records):
        return ()
    text = f"not attacked as the protocol froze it: run it against {', '.join(sorted(listed))}"
    return (Flag(id=UNLISTED, text=text),)
