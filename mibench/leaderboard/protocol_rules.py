"""Rules about a record and its protocol (MB3xx), and about controls (MB5xx)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mibench.leaderboard.finding import Problem, differs
from mibench.protocol.attacked import choose_classes
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.schema import ClassChoice, ComponentChoice
from mibench.results.columns import clean_accuracy
from mibench.results.record import ComponentRef, MetricValue, Record

_CONTROLS = ("gold", "floor", "undefended")


def protocol_fits(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """The record was made under the frozen protocol of this board."""
    if record.protocol.digest != protocol.digest:
        expected = f"{protocol.digest[:12]}… of the board's {protocol.id}"
        yield differs(
            "protocol.digest", expected, f"{record.protocol.digest[:12]}…", "run it under the published protocol"
        )


def seed_is_listed(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """Seeds are the protocol's, so that nobody picks a lucky one."""
    if record.cell.seed not in protocol.protocol.seeds:
        listed = ", ".join(map(str, protocol.protocol.seeds))
        yield differs("cell.seed", f"one of the protocol's seeds {listed}", record.cell.seed, "run a listed seed")


def attack_is_frozen(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """The attack ran with the settings that the protocol froze, or with those of another preset, as another attack.

    A further attack can only raise a worst case; a row without any frozen attack has no rank.
    """
    attack, frozen = record.components.get("attack"), protocol.protocol.attacks.get(record.cell.attack)
    if attack is None:
        return
    if attack.overridden or any(flag.id == "attack-settings-overridden" for flag in record.flags):
        found = f"parameters of the attack {attack.name!r} were changed"
        yield Problem("components.attack", found, "run it again without --set attack.…")
    if frozen is None or record.cell.attack_preset:
        return
    yield from _as_frozen("attack", attack, frozen)


def prior_is_frozen(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """A prior that an attack brings has the settings that the protocol froze for it."""
    prior = record.components.get("prior")
    frozen = protocol.protocol.priors.get(prior.name) if prior else None
    if prior is not None and frozen is not None and prior.name != protocol.protocol.prior.name:
        yield from _as_frozen("prior", prior, frozen)


def _as_frozen(role: str, part: ComponentRef, frozen: ComponentChoice) -> Iterator[Problem]:
    if frozen.preset and part.preset != frozen.preset:
        yield differs(f"components.{role}.preset", f"{frozen.preset!r} as the protocol froze it", part.preset)
    for key, value in frozen.params.items():
        if not same(part.params.get(key), value):
            got = part.params.get(key, "nothing")
            yield differs(f"components.{role}.params.{key}", f"{value!r} as the protocol froze it", got)


def attacked_classes_fit(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """The classes that the protocol chose were attacked, and measurements of reconstructions are over no others."""
    choice, private = protocol.protocol.attack_classes, protocol.protocol.split.private
    wanted = private if choice is None else choice.number or len(choice.labels)
    if (record.attacked is None) != (choice is None) or record.attacked_classes != wanted:
        yield differs("attacked", f"{wanted} classes as the protocol wants", record.attacked_classes)
    elif choice is not None and record.attacked is not None:
        yield from _chosen(choice, private, record.attacked)
    others = set(range(len(record.classes))) - set(record.attacked or range(len(record.classes)))
    for name, metric in [*record.metrics.items(), *_of_controls(record)] if others else []:
        strays = [label for label in sorted(others) if metric.per_class[label : label + 1] not in ([], [None])]
        if metric.group == "leakage" and strays:
            yield differs(f"{name}.per_class", "values of attacked classes alone", f"one of class {strays[0]}")


def _chosen(choice: ClassChoice, private: int, attacked: list[int]) -> Iterator[Problem]:
    """Classes are those that follow from the protocol; of a balanced draw, which asks the dataset, their form does."""
    if attacked != sorted(set(attacked) & set(range(private))):
        yield differs("attacked", f"different classes, 0 to {private - 1}, in ascending order", attacked)
    elif choice.labels and attacked != sorted(choice.labels):
        yield differs("attacked", f"{sorted(choice.labels)} as the protocol lists them", attacked)
    elif choice.number and choice.balance is None and attacked != (drawn := choose_classes(choice, range(private))):
        yield differs("attacked", f"{drawn} as the protocol draws them", attacked)


def model_is_plain(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """A row is named by its architecture, so that architecture has its registered parameters."""
    model = record.components.get("model")
    if model is not None and model.overridden:
        found = f"parameters of the model {model.name!r} were changed"
        yield Problem("components.model", found, "use a preset, or register the model under a name of its own")


def model_is_trained_here(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Anybody can train the target again."""
    model = record.components.get("model")
    if model is not None and model.comes_trained:
        found = f"the model {model.name!r} was trained elsewhere"
        yield Problem("components.model", found, "keep the record: an audit of one network has no row on any board")


def headline_is_there(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """The ranking metric was measured, and it is the protocol's."""
    wanted = protocol.protocol.headline
    if record.protocol.headline != wanted:
        yield differs("protocol.headline", f"the protocol's {wanted!r}", record.protocol.headline)
    if wanted not in record.metrics:
        yield differs(f"metrics.{wanted}", "the metric that ranks", "nothing")
    if clean_accuracy(record.metrics) is None:
        yield differs("metrics", "the target's accuracy, for leakage alone ranks nothing", "none")


def controls_are_there(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """Every leakage number stands beside gold, floor and undefended, and lookalike where the protocol has it."""
    controls = {str(name): values for name, values in record.controls.items()}
    further = ("lookalike",) if protocol.protocol.lookalike else ()
    for name in controls.keys() - {*_CONTROLS, *further}:
        yield differs(f"controls.{name}", "controls that the protocol has", name)
    for name in (*_CONTROLS, *further):
        if protocol.protocol.headline not in controls.get(name, {}):
            yield differs(f"controls.{name}", f"the headline {protocol.protocol.headline!r}", "nothing")


def _of_controls(record: Record) -> Iterator[tuple[str, MetricValue]]:
    for control, metrics in record.controls.items():
        for name, metric in metrics.items():
            yield f"controls.{control}.{name}", metric


def same(stated: object, frozen: object) -> bool:
    """Compare what a record states with YAML: a tuple is a list, 1 is 1.0, and ``5e-3``, a text there, is a number."""
    if isinstance(stated, list | tuple) and isinstance(frozen, list | tuple):
        return len(stated) == len(frozen) and all(map(same, stated, frozen))
    if isinstance(stated, dict) and isinstance(frozen, dict):
        return all(key in stated and same(stated[key], value) for key, value in frozen.items())
    if isinstance(frozen, str) and isinstance(stated, int | float) and not isinstance(stated, bool):
        with contextlib.suppress(ValueError):
            return stated == float(frozen)
    return stated == frozen
