"""What a request asks for: which protocols, and under each which models, defenses, attacks and seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mibench.api.errors import UsageError
from mibench.base.canonical import digest
from mibench.plan.choose import Chooser
from mibench.plan.resolve import Resolved, parse_choice
from mibench.protocol.load import LoadedProtocol, load_protocol
from mibench.protocol.request import DEFAULT_ATTACK, DEFAULT_PROTOCOL, SUITE, Request
from mibench.protocol.schema import Protocol
from mibench.registry.registry import Registry


@dataclass(frozen=True)
class Matrix:
    """The cross product under one protocol, each component once, however it was spelled.

    Attributes:
        models: architectures of the target.
        defenses: without the undefended control, which is always there.
        attacks: the attacks.
        seeds: target seeds.
    """

    models: list[Resolved]
    defenses: list[Resolved]
    attacks: list[Resolved]
    seeds: list[int]


def make_matrix(chooser: Chooser, request: Request) -> Matrix:
    """Resolve what a request names.

    Raises:
        UsageError: for unknown names, presets, parameters or values.
    """
    protocol = chooser.protocol
    models = [chooser.named("model", text, protocol.model) for text in request.models or (protocol.model.name,)]
    asked = _attacks(request, protocol)
    attacks = [chooser.named("attack", text, protocol.attacks.get(parse_choice(text).name)) for text in asked]
    defenses = _distinct(chooser.named("defense", text, protocol.undefended) for text in request.defenses)
    return Matrix(
        models=_distinct(models),
        defenses=[defense for defense in defenses if defense.entry() != chooser.undefended.entry()],
        attacks=_distinct(attacks),
        seeds=list(dict.fromkeys(request.seeds or protocol.seeds[:1])),
    )


def _attacks(request: Request, protocol: Protocol) -> list[str]:
    """Return what attacks, as it is typed: what was asked for, else the protocol's suite, else the default."""
    asked = request.attacks or ((SUITE,) if protocol.suite else (DEFAULT_ATTACK,))
    if SUITE in asked and not protocol.suite:
        raise UsageError(f"{protocol.id} requires no suite of attacks; name those that you want with --attack.")
    return [text for one in asked for text in (protocol.suite if one == SUITE else (one,))]


def load_protocols(request: Request, registry: Registry) -> list[LoadedProtocol]:
    """Load the protocols of a request, each once.

    Raises:
        UsageError: for unknown names, or if two have one name and differ, because results go by that name.
    """
    found: dict[str, LoadedProtocol] = {}
    for loaded in (load_protocol(registry, name, request.variant) for name in _names(request, registry)):
        known = found.setdefault(loaded.id, loaded)
        if known.digest != loaded.digest or known.protocol.presets != loaded.protocol.presets:
            how = "differ" if known.digest != loaded.digest else "have other presets"
            raise UsageError(
                f"{known.requested} and {loaded.requested} {how} and are both called {loaded.id}; rename one of them."
            )
    return list(found.values())


def _names(request: Request, registry: Registry) -> list[str]:
    if not request.datasets:
        return list(request.protocols or (DEFAULT_PROTOCOL,))
    for dataset in request.datasets:
        registry.get("dataset", dataset)
    entries = registry.entries("protocol")
    names = request.protocols or tuple(entry.name for entry in entries)
    found = [name for name in names if load_protocol(registry, name).protocol.dataset.name in request.datasets]
    if not found:
        raise UsageError(f"no protocol on {', '.join(request.datasets)} among: {', '.join(names)}")
    if request.protocols:
        return found
    # A dataset alone means its main protocol: the first whose numbers mean something.
    trials = {entry.name for entry in entries if getattr(entry.spec, "trial", False)}
    return ([name for name in found if name not in trials] or found)[:1]


def _distinct(choices: Iterable[Resolved]) -> list[Resolved]:
    found: dict[str, Resolved] = {}
    for choice in choices:
        found.setdefault(digest(choice.entry().json()), choice)
    return list(found.values())
