"""Computed warnings: each is a small function of a record that returns one sentence, or ``None`` if all is well.

A flag does not say that a result is wrong. It says what must be explained before anybody trusts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from mibench.api.columns import MetricFlag
from mibench.base.scalars import finite
from mibench.results.columns import clean_accuracy
from mibench.results.display import short
from mibench.results.identities import accuracy_order, robust_below_clean, robust_order
from mibench.results.normalize import control, headline
from mibench.results.record import Flag, MetricValue, Record

FEW_CLASSES = 10
MAX_METRIC_FLAGS = 20
OUTSIDE, INACTIVE, USELESS = "outside-threat-model", "defense-inactive", "target-useless"
PEEKED, FEW = "chosen-by-evaluator", "few-classes"
FOREIGN = "trained-elsewhere"
UNRANKED = {OUTSIDE, INACTIVE, USELESS, PEEKED, FOREIGN}
"""Flags of what is no result of a working defense within its threat model, was chosen by what judges it, or is of a
network that nobody can train again; boards show such rows without a rank, and those of the last kind not at all."""
WEAK = "undefended-not-above-floor"
"""Flag of an attack that finds nothing without a defense."""
USELESS_BELOW = 0.1
"""Accuracy between chance (0) and perfect (1) from which a target is of some use."""

Check = Callable[[Record], str | None]


class FlagRule(NamedTuple):
    """A flag and how it is computed.

    Attributes:
        id: stable name.
        check: returns the sentence for people, or ``None``.
    """

    id: str
    check: Check


def compute_flags(record: Record, declared: Sequence[MetricFlag] = ()) -> list[Flag]:
    """Return all flags of a record: those of :data:`RULES`, and among them, before the last, those of its metrics.

    A failed cell has no numbers and no flags.

    Args:
        record: the record.
        declared: what its metrics announce of their flags. Without it a flag of a metric has the sentence that the
            record states, else one that only says which column raised it.
    """
    if record.status != "done":
        return []
    found = {rule.id: text for rule in RULES if (text := rule.check(record))}
    raised = {name: text for name, text in raised_by_metrics(record, declared).items() if name not in found}
    last = {FEW: found.pop(FEW)} if FEW in found else {}
    found |= dict(islice(raised.items(), MAX_METRIC_FLAGS)) | last
    return [Flag(id=identifier, text=text) for identifier, text in found.items()]


def defense_inactive(record: Record) -> str | None:
    """The defense's own self-check says that it had no effect."""
    if record.self_check.active is not False:
        return None
    return f"the self-check of {record.cell.defense} finds it inactive: the numbers are those of plain training"


def outside_threat_model(record: Record) -> str | None:
    """The attack sees the weights; the defense only promises something against attackers who do not."""
    defense, attack = record.components.get("defense"), record.components.get("attack")
    if not defense or not attack or defense.access != "black-box" or attack.access != "white-box":
        return None
    return f"{defense.name} is a black-box defense and {attack.name} sees the weights: it is not what was promised"


def target_useless(record: Record) -> str | None:
    """The classifier is hardly better than guessing, so there is nothing to invert and nothing to use."""
    accuracy, classes = clean_accuracy(record.metrics), len(record.classes)
    if accuracy is None or classes < 2 or (accuracy.value - 1 / classes) / (1 - 1 / classes) >= USELESS_BELOW:
        return None
    return f"accuracy {short(accuracy.value)} is hardly better than guessing (1/{classes}): a useless target"


def chosen_by_evaluator(record: Record) -> str | None:
    """The attack saw an evaluator and chose by it, as some released code does."""
    judge = record.ledger.chosen_by
    return f"{record.cell.attack} chose its images by {judge}, which also judges them" if judge is not None else None


def trained_elsewhere(record: Record) -> str | None:
    """The target is a network that somebody else has trained."""
    model = record.components.get("model")
    if model is None or not model.comes_trained:
        return None
    return "the target was trained elsewhere, in a way that is not known here: an audit of one network, for no board"


def classes_failed(record: Record) -> str | None:
    """The attack delivered nothing for some classes, which count as never recognised."""
    failed = record.ledger.failed
    if not failed:
        return None
    label, reason = min(failed.items(), key=lambda item: (len(item[0]), item[0]))  # whole numbers, as text
    return f"{len(failed)} of {record.attacked_classes} classes failed and count as no success; class {label}: {reason}"


def accuracy_order_broken(record: Record) -> str | None:
    """A judge hits more with one guess than with five."""
    return next(accuracy_order(record.metrics), None)


def robust_rises(record: Record) -> str | None:
    """Robust accuracy rises with the radius."""
    return next(robust_order(record.metrics), None)


def robust_above_clean(record: Record) -> str | None:
    """Robust accuracy is above clean accuracy."""
    return next(robust_below_clean(record.metrics), None)


def leakage_above_gold(record: Record) -> str | None:
    """Reconstructions look more like the person than photographs of the person do."""
    found, gold = headline(record), control(record, "gold")
    if found and gold and _leak(found) > _leak(gold):
        return f"leakage {short(found.value)} is above gold {short(gold.value)}: adversarial images, or a weak judge"
    return None


def floor_not_below_gold(record: Record) -> str | None:
    """The metric cannot tell private photographs from samples that nobody optimised."""
    floor, gold = control(record, "floor"), control(record, "gold")
    if floor and gold and _leak(floor) >= _leak(gold):
        return f"floor {short(floor.value)} is not below gold {short(gold.value)}: the metric measures nothing here"
    return None


def undefended_not_above_floor(record: Record) -> str | None:
    """The attack gets nothing even without a defense, so no defense can show anything."""
    plain, floor = control(record, "undefended"), control(record, "floor")
    if plain and floor and _leak(plain) <= _leak(floor):
        return (
            f"{record.cell.attack} on the undefended target leaks {short(plain.value)}, not more than the floor "
            f"{short(floor.value)}: the attack is too weak to judge a defense"
        )
    return None


def attack_loss_not_falling(record: Record) -> str | None:
    """The attack's mean loss over classes ends where it began, or higher."""
    trace = record.ledger.trace
    if trace is None:
        return None
    first, last = finite(trace.loss_first), finite(trace.loss_last)
    if first is None or last is None or last < first:
        return None
    return f"the attack's loss did not fall ({first:.4g} to {last:.4g}): masked gradients or a broken optimiser"


def attack_overridden(record: Record) -> str | None:
    """The attack did not run with the protocol's settings."""
    attack = record.components.get("attack")
    if attack is None or not attack.overridden:
        return None
    return f"{attack.name} ran with other settings than the protocol's"


def few_classes(record: Record) -> str | None:
    """Too few classes for an interval to mean much."""
    found = headline(record)
    per_class = found.per_class if found else []
    number = record.attacked_classes or sum(value is not None for value in per_class)
    if number >= FEW_CLASSES:
        return None
    return f"{number} attacked classes; intervals over fewer than {FEW_CLASSES} are rough"


RULES: tuple[FlagRule, ...] = (
    FlagRule(INACTIVE, defense_inactive),
    FlagRule(OUTSIDE, outside_threat_model),
    FlagRule(USELESS, target_useless),
    FlagRule(PEEKED, chosen_by_evaluator),
    FlagRule(FOREIGN, trained_elsewhere),
    FlagRule("classes-failed", classes_failed),
    FlagRule("accuracy-order", accuracy_order_broken),
    FlagRule("robust-rises-with-eps", robust_rises),
    FlagRule("robust-above-clean", robust_above_clean),
    FlagRule("leakage-above-gold", leakage_above_gold),
    FlagRule("floor-not-below-gold", floor_not_below_gold),
    FlagRule(WEAK, undefended_not_above_floor),
    FlagRule("attack-loss-not-falling", attack_loss_not_falling),
    FlagRule("attack-settings-overridden", attack_overridden),
    FlagRule(FEW, few_classes),
)
"""Every flag that the core computes. Identifiers are stable: boards of old records are read by them."""


def raised_by_metrics(record: Record, declared: Sequence[MetricFlag] = ()) -> dict[str, str]:
    """Return flags that metrics raise themselves, in ``details["flags"]``, each with its sentence."""
    raised: dict[str, list[str]] = {}
    for name, metric in record.metrics.items():
        flags = metric.details.get("flags")
        for flag in flags if isinstance(flags, list) else []:
            if isinstance(flag, str):
                raised.setdefault(flag, []).append(name)
    known, told = {flag.id: flag for flag in declared}, {flag.id: flag.text for flag in record.flags}
    texts = {}
    for identifier, names in raised.items():
        flag = known.get(identifier)
        numbers = [finite(record.metrics[name].details.get(flag.detail)) for name in names] if flag else []
        largest = max((number for number in numbers if number is not None), default=0.0)
        text = flag.text.format(detail=largest) if flag else told.get(identifier)
        texts[identifier] = text or f"raised by the metric {names[0]}"
    return texts


def _leak(metric: MetricValue) -> float:
    return -metric.value if metric.higher_is_better else metric.value
