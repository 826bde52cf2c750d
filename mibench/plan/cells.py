"""From a request to cells: the matrix, with the control cells that every leakage number needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mibench.api.errors import UsageError, unknown
from mibench.plan.compatibility import check_compatibility
from mibench.plan.facts import Facts
from mibench.plan.graph import Graph, ProtocolContext
from mibench.plan.known import check_images
from mibench.plan.node import Node
from mibench.plan.resolve import Resolved, join, parse_choice, resolve
from mibench.plan.settings import Settings
from mibench.protocol.load import LoadedProtocol, load_protocol
from mibench.protocol.request import DEFAULT_PROTOCOL, Request
from mibench.protocol.schema import ComponentChoice
from mibench.protocol.split import choose_classes, split_identities
from mibench.registry.build import JOINT
from mibench.registry.registry import Registry
from mibench.results.canonical import digest


@dataclass(frozen=True)
class Cell:
    """One (protocol, model, defense, attack, seed) and the nodes that answer it.

    Attributes:
        loaded: the protocol.
        graph: the nodes of the protocol and what is fixed in it.
        model: target architecture.
        defense: the defense.
        attack: the attack.
        prior: the generator that the attack uses, the protocol's unless it brings its own.
        seed: target seed.
        target: node of the defended classifier.
        evidence: node of the reconstructions.
        measures: metric name to node.
        gold: metric name to node, on held-out images.
        floor: metric name to node, on samples that nobody optimised.
        undefended: metric name to node, of the same attack on the undefended target.
    """

    loaded: LoadedProtocol
    graph: Graph
    model: Resolved
    defense: Resolved
    attack: Resolved
    prior: Resolved
    seed: int
    target: Node
    evidence: Node
    measures: Mapping[str, Node]
    gold: Mapping[str, Node] = field(default_factory=dict)
    floor: Mapping[str, Node] = field(default_factory=dict)
    undefended: Mapping[str, Node] = field(default_factory=dict)

    @property
    def prior_node(self) -> Node:
        """Node of that generator."""
        return self.graph.nodes[self.evidence.needs["prior"]]

    @property
    def inputs(self) -> dict[str, Node]:
        """What a record states the digest of, by role: data, target, prior, the evaluators that take part, evidence."""
        nodes = {"data": self.graph.data("private"), "target": self.target, "prior": self.prior_node}
        nodes["reconstructions"] = self.evidence
        measured = (node for group in (self.measures, self.gold, self.floor) for node in group.values())
        for node in (self.evidence, *measured):
            judges = (role for role in node.needs if role.startswith("evaluator:"))
            nodes |= {role: self.graph.nodes[node.needs[role]] for role in judges}
        return nodes

    @property
    def label(self) -> str:
        """What people read."""
        return f"{self.loaded.id} · {self.model.name} · {self.defense.asked} × {self.attack.asked} · seed {self.seed}"


def expand(request: Request, registry: Registry, facts: Facts | None = None) -> list[Cell]:
    """Return the cells of a request, controls first.

    Args:
        request: what is asked for.
        registry: where components are found.
        facts: of components, as far as they are remembered; by default all are asked.

    Raises:
        UsageError: for unknown names, parameters, values or seeds.
    """
    facts = facts or Facts(registry)
    settings = Settings(request.settings, facts)
    cells: list[Cell] = []
    for loaded in _once(load_protocol(registry, name, request.variant) for name in _protocols(request, registry)):
        cells.extend(_Builder(loaded, request, facts, settings).cells())
    settings.check_all_used()
    return cells


def expand_loaded(loaded: LoadedProtocol, request: Request, facts: Facts) -> list[Cell]:
    """Return the cells of a request under one protocol, which need not be installed.

    Raises:
        UsageError: as :func:`expand`.
    """
    settings = Settings(request.settings, facts)
    cells = _Builder(loaded, request, facts, settings).cells()
    settings.check_all_used()
    return cells


def _protocols(request: Request, registry: Registry) -> list[str]:
    if not request.datasets:
        return list(request.protocols or (DEFAULT_PROTOCOL,))
    for dataset in request.datasets:
        registry.get("dataset", dataset)
    names = request.protocols or tuple(entry.spec.name for entry in registry.entries("protocol"))
    found = [n for n in names if load_protocol(registry, n).protocol.dataset.name in request.datasets]
    if not found:
        raise UsageError(f"no protocol on {', '.join(request.datasets)} among: {', '.join(names)}")
    # A dataset alone means its main protocol: the first that is not a smoke test.
    return found if request.protocols else [n for n in found if n != "smoke"][:1] or found[:1]


def _once(protocols: Iterable[LoadedProtocol]) -> Iterable[LoadedProtocol]:
    """Return each protocol once, however it was spelled.

    Raises:
        UsageError: if two have one name and differ, because results go by that name.
    """
    found: dict[str, LoadedProtocol] = {}
    for loaded in protocols:
        known = found.setdefault(loaded.id, loaded)
        if known.digest != loaded.digest:
            raise UsageError(
                f"{known.asked} and {loaded.asked} differ and are both called {loaded.id}; rename one of them."
            )
    return found.values()


def _distinct(choices: Iterable[Resolved]) -> list[Resolved]:
    """Return each component once, however it was spelled."""
    found: dict[str, Resolved] = {}
    for choice in choices:
        found.setdefault(digest(choice.entry()), choice)
    return list(found.values())


class _Builder:
    """Builds the cells of one protocol."""

    def __init__(self, loaded: LoadedProtocol, request: Request, facts: Facts, settings: Settings) -> None:
        self.loaded, self.request, self.facts, self.settings = loaded, request, facts, settings
        self.registry = facts.registry
        self.protocol = loaded.protocol
        self._fitting: set[str] = set()
        self.graph = Graph(self._fixed(), self.registry.files)
        plain = self.protocol.undefended
        self.undefended = replace(self._resolve("defense", plain, plain=True), asked=plain.name)

    def cells(self) -> list[Cell]:
        plain = self.protocol.model
        request = self.request
        models = _distinct(self._named("model", text, plain) for text in request.models or (plain.name,))
        seeds = dict.fromkeys(request.seeds or self.protocol.seeds[:1])
        budgets = self.protocol.attacks
        attacks = _distinct(self._named("attack", t, budgets.get(parse_choice(t).name)) for t in request.attacks)
        named = _distinct(self._named("defense", text, self.protocol.undefended) for text in request.defenses)
        defenses = [defense for defense in named if defense.entry() != self.undefended.entry()]
        made: list[Cell] = []
        for model in models:
            for seed in seeds:
                for attack in attacks:
                    made.append(self._cell(model, self.undefended, attack, seed))
                    made += [self._cell(model, defense, attack, seed) for defense in defenses]
        return made

    def _cell(self, model: Resolved, defense: Resolved, attack: Resolved, seed: int) -> Cell:
        graph, label = self.graph, f"{defense.asked} · {model.name} · seed {seed}"
        target, prior = graph.target(model, defense, seed), self._prior(attack)
        if prior.overridden:
            attack = replace(attack, overridden=True)
        evidence = graph.reconstruct(target, attack, seed, f"{attack.asked} on {label}", prior)
        plain = graph.target(model, self.undefended, seed)
        plain_label = f"{self.undefended.name} · {model.name} · seed {seed}"
        floor = self._resolve("attack", self.protocol.floor, plain=True)
        floor_node = graph.reconstruct(plain, floor, seed, f"{floor.name} on {plain_label}", self._prior(floor))
        attacked = graph.reconstruct(plain, attack, seed, f"{attack.asked} on {plain_label}", prior)
        return Cell(
            self.loaded, graph, model, defense, attack, prior, seed, target, evidence,
            measures={
                **self._measures("target", target, None, label),
                **self._measures("reconstructions", target, evidence, f"{attack.asked} on {label}"),
            },
            gold=self._measures("reconstructions", plain, graph.gold(), "gold"),
            floor=self._measures("reconstructions", plain, floor_node, "floor"),
            undefended=self._measures("reconstructions", plain, attacked, f"{attack.asked} on {plain_label}"),
        )  # fmt: skip

    def _prior(self, attack: Resolved) -> Resolved:
        choice = attack.settled.prior
        # Settings are for a prior that the attack brings; the protocol's own is frozen.
        prior = self._resolve("prior", parse_choice(choice), settable=True) if choice else self.graph.fixed.prior
        if prior.traits.needs_target and attack.traits.access != "white-box":
            raise UsageError(
                f"attack {attack.name!r} declares {attack.traits.access} access; the prior {prior.name!r} is trained"
                " with the target's gradients. Choose a prior that is trained on public images alone."
            )
        pair = digest({"attack": attack.entry(), "prior": prior.entry()})
        if pair not in self._fitting:
            check_compatibility(
                self.facts, attack, prior, self.protocol.image, len(self.graph.fixed.identities.private)
            )
            self._fitting.add(pair)
        # The very same generator must not be trained twice under two names.
        return self.graph.fixed.prior if prior.entry() == self.graph.fixed.prior.entry() else prior

    def _measures(self, subject: str, target: Node, evidence: Node | None, label: str) -> dict[str, Node]:
        return {
            metric.name: self.graph.measure(metric, target=target, evidence=evidence, label=label)
            for metric in self.graph.fixed.metrics
            if metric.traits.subject == subject
        }

    def _named(self, kind: str, text: str, frozen: ComponentChoice | None) -> Resolved:
        """Resolve what was typed: a bare name is what the protocol froze under it, with a preset it is that preset."""
        if kind == "defense" and JOINT in text:
            return join(
                self.facts, [self._named(kind, part, frozen) for part in text.split(JOINT)], self.undefended.name
            )
        choice = frozen if frozen and text == frozen.name else parse_choice(text)
        made = replace(self._resolve(kind, choice), asked=text)
        another = kind == "attack" and choice is not frozen  # a preset by name is an attack of its own
        if frozen is None or frozen.name != made.name or another:
            return made
        return replace(made, overridden=made.params != self._resolve(kind, frozen, plain=True).params)

    def _resolve(self, kind: str, choice: ComponentChoice, *, plain: bool = False, settable: bool = False) -> Resolved:
        overrides = {}
        if settable or (not plain and kind in ("defense", "attack", "model")):
            self.registry.get(kind, choice.name)
            overrides = self.settings.overrides(kind, choice.name)
        made = resolve(self.facts, kind, choice, protocol=self.protocol, overrides=overrides)
        self.registry.files.update(made.settled.files)
        return made

    def _fixed(self) -> ProtocolContext:
        protocol = self.protocol
        dataset = self._resolve("dataset", protocol.dataset)
        available = self.facts.identities(dataset.entry())
        identities = split_identities(protocol.split, available)
        fixed = ProtocolContext(
            protocol,
            identities,
            "test" if self.loaded.variant == "test" else "val",
            dataset,
            self._resolve("prior", protocol.prior),
            self._resolve("dataset", protocol.prior.source.dataset) if protocol.prior.source else None,
            self._embedder(protocol.embedder),
            {choice.name: self._resolve("model", choice.model, plain=True) for choice in protocol.evaluators},
            tuple(self._resolve("metric", choice) for choice in protocol.metrics),
            self._attacked(dataset, identities.private),
        )
        check_images(fixed, self.facts)
        return fixed

    def _attacked(self, dataset: Resolved, private: Sequence[int]) -> list[int] | None:
        choice = self.protocol.attack_classes
        if choice is None:
            return None
        return choose_classes(choice, private, self.facts.groups(dataset.entry()) if choice.balance else {})

    def _embedder(self, choice: ComponentChoice) -> Resolved:
        found = self._resolve("model", choice, plain=True)
        if getattr(found.registered.spec, "role", "") != "embedder":
            names = [e.spec.name for e in self.registry.entries("model") if getattr(e.spec, "role", "") == "embedder"]
            raise unknown("embedder", choice.name, names)
        return found
