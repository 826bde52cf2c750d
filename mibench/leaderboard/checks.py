"""What a record must satisfy to be on a board: a table of small rules with stable identifiers.

Families: MB1xx schema, MB2xx identity and digest, MB3xx protocol, MB5xx controls, MB6xx metric identities, MB7xx
provenance. MB4xx (statistics), MB8xx (board structure) and MB9xx (presentation) are reserved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mibench.protocol.load import LoadedProtocol
from mibench.results.columns import clean_accuracy
from mibench.results.identities import accuracy_order, robust_below_clean, robust_order
from mibench.results.intervals import class_interval
from mibench.results.io import verify_digest
from mibench.results.normalize import record_leakage
from mibench.results.record import MetricValue, Record

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_KEY = re.compile(r"[0-9a-f]{64}")
_CONTROLS = ("gold", "floor", "undefended")


class Finding(NamedTuple):
    """A broken rule.

    Attributes:
        id: identifier of the rule, e.g. ``"MB201"``.
        text: what was expected and what was found.
    """

    id: str
    text: str


class Rule(NamedTuple):
    """A rule: its identifier and the function that yields one sentence per violation."""

    id: str
    check: Callable[[Record, LoadedProtocol], Iterator[str]]


def check_record(record: Record, protocol: LoadedProtocol) -> list[Finding]:
    """Return every rule that a record breaks on the board of a protocol.

    A failed cell or an ill-formed name ends the check: the other rules would only add noise.
    """
    found: list[Finding] = []
    for rule in RULES:
        found += [Finding(rule.id, text) for text in rule.check(record, protocol)]
        if found and rule.id in _ENDS:
            break
    return found


def is_done(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Failed cells have no numbers."""
    if record.status != "done":
        reason = f": {record.failure.stage}: {record.failure.error}" if record.failure else ""
        yield f"the cell failed{reason}; only finished cells are accepted"


def is_test_variant(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Tuning runs are never published."""
    if record.protocol.variant != "test":
        yield f"the record is of the {record.protocol.variant} variant, which is for tuning; run the test variant"


def names_are_plain(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Names become file names."""
    cell = record.cell
    for kind, name in (("model", cell.model), ("defense", cell.defense), ("attack", cell.attack)):
        if not NAME.fullmatch(name):
            yield f"{kind} name {name!r}: expected up to 64 lower-case letters, digits, '.', '_', '+' and '-'"


def components_are_stated(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Model, defense and attack of the cell have their provenance in the record."""
    for role in ("defense", "attack", "model"):
        name, stated = getattr(record.cell, role), record.components.get(role)
        if stated is None:
            if role != "model":
                yield f"components has no {role!r}"
        elif stated.name != name:
            yield f"the cell's {role} is {name!r}, but its component is {stated.name!r}"


def digest_fits(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """The content is what was sealed."""
    if not verify_digest(record):
        yield "the digest does not fit the content: the file was edited after the run"


def key_is_sha256(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """The cell key is a sha256."""
    if not _KEY.fullmatch(record.cell.key):
        yield f"the cell key {record.cell.key!r} is not a sha256 (64 hexadecimal digits)"


def protocol_fits(record: Record, protocol: LoadedProtocol) -> Iterator[str]:
    """The record was made under the frozen protocol of this board."""
    if record.protocol.digest != protocol.digest:
        yield (
            f"the record was made under a {protocol.id} with digest {record.protocol.digest[:12]}, the board's has "
            f"{protocol.digest[:12]}; run it again under the published protocol"
        )


def seed_is_listed(record: Record, protocol: LoadedProtocol) -> Iterator[str]:
    """Seeds are the protocol's, so that nobody picks a lucky one."""
    if record.cell.seed not in protocol.protocol.seeds:
        listed = ", ".join(map(str, protocol.protocol.seeds))
        yield f"seed {record.cell.seed} is not one of the protocol's: {listed}"


def attack_is_frozen(record: Record, protocol: LoadedProtocol) -> Iterator[str]:
    """The attack ran with the settings that the protocol froze, or with those of another preset, as another attack.

    A further attack can only raise a worst case; a row without any frozen attack has no rank.
    """
    attack, frozen = record.components.get("attack"), protocol.protocol.attacks.get(record.cell.attack)
    if attack is None:
        return
    if attack.overridden or any(flag.id == "attack-settings-overridden" for flag in record.flags):
        yield f"parameters of the attack {attack.name!r} were changed; remove every --set attack.…"
    if frozen is None or record.cell.attack_preset:
        return
    if frozen.preset and attack.preset != frozen.preset:
        yield f"the attack's preset is {attack.preset!r}; the protocol froze {frozen.preset!r}"
    for key, value in frozen.params.items():
        if not _same(attack.params.get(key), value):
            yield f"attack parameter {key} is {attack.params.get(key)!r}; the protocol froze {value!r}"


def attacked_classes_fit(record: Record, protocol: LoadedProtocol) -> Iterator[str]:
    """The classes that the protocol chose were attacked, and measurements of reconstructions are over no others."""
    choice = protocol.protocol.attack_classes
    wanted = protocol.protocol.split.private if choice is None else choice.number or len(choice.labels)
    if (record.attacked is None) != (choice is None) or record.attacked_classes != wanted:
        yield f"{record.attacked_classes} classes were attacked; the protocol's attacks are on {wanted}"
    elif choice is not None and choice.labels and record.attacked != sorted(choice.labels):
        yield f"the classes {record.attacked} were attacked; the protocol lists {sorted(choice.labels)}"
    others = set(range(len(record.classes))) - set(record.attacked or range(len(record.classes)))
    for name, metric in [*record.metrics.items(), *_of_controls(record)] if others else []:
        strays = [label for label in sorted(others) if metric.per_class[label : label + 1] not in ([], [None])]
        if metric.group == "leakage" and strays:
            yield f"{name} has a value for class {strays[0]}, which was not attacked"


def model_is_plain(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """A row is named by its architecture, so that architecture has its registered parameters."""
    model = record.components.get("model")
    if model is not None and model.overridden:
        yield f"parameters of the model {model.name!r} were changed; use a preset or a registered model instead"


def headline_is_there(record: Record, protocol: LoadedProtocol) -> Iterator[str]:
    """The ranking metric was measured, and it is the protocol's."""
    wanted = protocol.protocol.headline
    if record.protocol.headline != wanted:
        yield f"the record's headline is {record.protocol.headline!r}; the protocol's is {wanted!r}"
    if wanted not in record.metrics:
        yield f"the headline metric {wanted!r} is missing"
    if clean_accuracy(record.metrics) is None:
        yield "the target's accuracy is missing; leakage alone ranks nothing"


def controls_are_there(record: Record, protocol: LoadedProtocol) -> Iterator[str]:
    """Every leakage number stands beside gold, floor and undefended."""
    controls = {str(name): values for name, values in record.controls.items()}
    for name in _CONTROLS:
        if protocol.protocol.headline not in controls.get(name, {}):
            yield f"the control {name!r} lacks the headline {protocol.protocol.headline!r}"


def fractions_are_fractions(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Fractions lie in [0, 1]."""
    for name, metric in _all_metrics(record):
        values = [metric.value, *(value for value in metric.per_class if value is not None)]
        if metric.unit == "fraction" and not all(0 <= value <= 1 for value in values):
            yield f"{name} is a fraction and must lie in [0, 1]"


def accuracies_are_ordered(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Accuracy@1 is at most accuracy@5."""
    yield from accuracy_order(record.metrics)


def robustness_is_ordered(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Robust accuracy never rises with the radius."""
    yield from robust_order(record.metrics)


def robustness_is_below_clean(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Robust accuracy is at most clean accuracy."""
    yield from robust_below_clean(record.metrics)


def normalisation_fits(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """The stated normalised leakage is the one that its parts give."""
    stated, computed = record.normalized_leakage, record_leakage(record)
    if (stated is None) != (computed is None) or (stated is not None and abs(stated - (computed or 0.0)) > 1e-6):
        yield f"normalized_leakage is {stated}, but headline, floor and gold give {computed}"


def intervals_fit(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Intervals are those of the per-class values, up to a change of random stream between numpy versions."""
    for name, metric in _all_metrics(record):
        own = class_interval(metric.per_class)
        if (own is None) != (metric.ci95 is None):
            yield f"{name} has the interval {metric.ci95}, but its per-class values give {own}"
        elif own and metric.ci95:
            present = [value for value in metric.per_class if value is not None]
            slack = 0.1 * (max(present) - min(present)) + 1e-9
            if any(abs(ours - theirs) > slack for ours, theirs in zip(own, metric.ci95, strict=True)):
                yield f"{name} has the interval {metric.ci95}, but its per-class values give {own}"


def command_is_there(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Anybody can repeat the cell."""
    if not record.command.strip():
        yield "the command that repeats the cell is missing"


RULES: tuple[Rule, ...] = (
    Rule("MB101", is_done),
    Rule("MB102", is_test_variant),
    Rule("MB103", names_are_plain),
    Rule("MB104", components_are_stated),
    Rule("MB201", digest_fits),
    Rule("MB202", key_is_sha256),
    Rule("MB301", protocol_fits),
    Rule("MB302", seed_is_listed),
    Rule("MB303", attack_is_frozen),
    Rule("MB304", headline_is_there),
    Rule("MB305", model_is_plain),
    Rule("MB311", attacked_classes_fit),
    Rule("MB501", controls_are_there),
    Rule("MB601", fractions_are_fractions),
    Rule("MB602", accuracies_are_ordered),
    Rule("MB603", robustness_is_ordered),
    Rule("MB604", robustness_is_below_clean),
    Rule("MB605", normalisation_fits),
    Rule("MB606", intervals_fit),
    Rule("MB701", command_is_there),
)
"""Every rule, in the order in which it is checked. Identifiers are never reused."""

_ENDS = frozenset({"MB101", "MB103"})


def _all_metrics(record: Record) -> Iterator[tuple[str, MetricValue]]:
    yield from record.metrics.items()
    yield from _of_controls(record)


def _of_controls(record: Record) -> Iterator[tuple[str, MetricValue]]:
    for control, metrics in record.controls.items():
        for name, metric in metrics.items():
            yield f"{control}: {name}", metric


def _same(stated: object, frozen: object) -> bool:
    """Compare after JSON: a tuple is a list, and 1 in YAML is 1.0 for a parameter that is a float."""
    if isinstance(stated, list | tuple) and isinstance(frozen, list | tuple):
        return len(stated) == len(frozen) and all(map(_same, stated, frozen))
    if isinstance(stated, dict) and isinstance(frozen, dict):
        return all(key in stated and _same(stated[key], value) for key, value in frozen.items())
    return stated == frozen
