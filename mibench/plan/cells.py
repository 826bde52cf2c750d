"""Cells: what a request asks for as nodes, with the control cells that every leakage number needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mibench.api.errors import UsageError
from mibench.base.canonical import digest
from mibench.nodes.classifier import EvaluatorInputs
from mibench.nodes.node import Node
from mibench.plan.choose import Chooser
from mibench.plan.compatibility import check_compatibility
from mibench.plan.context import make_context
from mibench.plan.facts import Facts
from mibench.plan.graph import Graph
from mibench.plan.known import check_images
from mibench.plan.matrix import load_protocols, make_matrix
from mibench.plan.referee import check_referee
from mibench.plan.resolve import Resolved, parse_choice
from mibench.plan.settings import Settings
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.request import Request
from mibench.protocol.schema import ComponentChoice
from mibench.registry.registry import Registry

Control = Literal["gold", "floor", "undefended", "lookalike"]


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
        reconstructions: node of what the attack makes of it.
        measures: metric name to node.
        gold: metric name to node, on held-out images.
        floor: metric name to node, on samples that nobody optimised.
        undefended: metric name to node, of the same attack on the undefended target.
        lookalike: metric name to node, on public images that look alike; empty unless the protocol names an attack.
    """

    loaded: LoadedProtocol
    graph: Graph
    model: Resolved
    defense: Resolved
    attack: Resolved
    prior: Resolved
    seed: int
    target: Node
    reconstructions: Node
    measures: Mapping[str, Node]
    gold: Mapping[str, Node] = field(default_factory=dict)
    floor: Mapping[str, Node] = field(default_factory=dict)
    undefended: Mapping[str, Node] = field(default_factory=dict)
    lookalike: Mapping[str, Node] = field(default_factory=dict)

    @property
    def controls(self) -> dict[Control, Mapping[str, Node]]:
        """The controls that the protocol has, by name."""
        found: dict[Control, Mapping[str, Node]] = {
            "gold": self.gold,
            "floor": self.floor,
            "undefended": self.undefended,
        }
        return found | ({"lookalike": self.lookalike} if self.lookalike else {})

    @property
    def prior_node(self) -> Node:
        """Node of that generator."""
        return self.graph.nodes[self.reconstructions.needs["prior"]]

    @property
    def inputs(self) -> dict[str, Node]:
        """What a record states the digest of, by role: data, target, prior, judges that take part, reconstructions."""
        nodes = {"data": self.graph.data("private"), "target": self.target, "prior": self.prior_node}
        nodes["reconstructions"] = self.reconstructions
        measured = (node for group in (self.measures, self.gold, self.floor) for node in group.values())
        for node in (self.reconstructions, *measured):
            judges = {role: ref for role, ref in node.inputs.refs().items() if ref.stage == EvaluatorInputs.stage}
            nodes |= {role: self.graph.nodes[ref.key] for role, ref in judges.items()}
        return nodes

    @property
    def label(self) -> str:
        """What people read."""
        names = f"{self.model.name} · {self.defense.requested} × {self.attack.requested}"
        return f"{self.loaded.id} · {names} · seed {self.seed}"


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
    return _expand(load_protocols(request, registry), request, facts, suites=True)


def expand_loaded(loaded: LoadedProtocol, request: Request, facts: Facts) -> list[Cell]:
    """Return the cells of a request under one protocol, which need not be installed, nor the attacks of its suite.

    Raises:
        UsageError: as :func:`expand`.
    """
    return _expand([loaded], request, facts, suites=False)


def _expand(protocols: list[LoadedProtocol], request: Request, facts: Facts, *, suites: bool) -> list[Cell]:
    settings = Settings(request.settings, facts)
    choosers = [Chooser(one, facts, settings) for one in protocols]
    for chooser in choosers if suites else ():
        check_referee(chooser)
    cells = [cell for chooser in choosers for cell in _cells(chooser, request)]
    settings.check_all_used()
    return cells


def _cells(chooser: Chooser, request: Request) -> list[Cell]:
    matrix, folds = make_matrix(chooser, request), chooser.protocol.folds
    by_fold = {fold: _of_fold(chooser, fold) for fold in sorted({seed % folds for seed in matrix.seeds})}
    return [
        by_fold[seed % folds].make(model, defense, attack, seed)
        for model in matrix.models
        for seed in matrix.seeds
        for attack in matrix.attacks
        for defense in (chooser.undefended, *matrix.defenses)
    ]


def _of_fold(chooser: Chooser, fold: int) -> _Cells:
    context = make_context(chooser, fold)
    check_images(context, chooser.facts)
    return _Cells(chooser, Graph(context, chooser.facts.registry.files))


class _Cells:
    """Makes the cells of one protocol, or of one fold of it, in its graph."""

    def __init__(self, chooser: Chooser, graph: Graph) -> None:
        self._chooser, self._graph = chooser, graph
        self._compatible: set[tuple[str, str]] = set()

    def make(self, model: Resolved, defense: Resolved, attack: Resolved, seed: int) -> Cell:
        graph, undefended = self._graph, self._chooser.undefended
        _check_trainable(model, defense, undefended)
        prior = self._prior(attack)
        attack = replace(attack, overridden=attack.overridden or prior.overridden)
        target, plain = graph.target(model, defense, seed), graph.target(model, undefended, seed)
        label, plain_label = _label(model, defense.requested, seed), _label(model, undefended.name, seed)
        attacked_label = f"{attack.requested} on {label}"
        reconstructions = graph.reconstruct(target, attack, seed, attacked_label, prior)
        plain_attacked = f"{attack.requested} on {plain_label}"
        plain_images = graph.reconstruct(plain, attack, seed, plain_attacked, prior)
        return Cell(
            self._chooser.loaded, graph, model, defense, attack, prior, seed, target, reconstructions,
            measures={
                **self._measures(target, None, label),
                **self._measures(target, reconstructions, attacked_label),
            },
            gold=self._measures(plain, graph.gold(), "gold"),
            floor=self._baseline(graph.fixed.protocol.floor, plain, seed, plain_label, "floor"),
            undefended=self._measures(plain, plain_images, plain_attacked),
            lookalike=self._baseline(graph.fixed.protocol.lookalike, plain, seed, plain_label, "lookalike"),
        )  # fmt: skip

    def _baseline(
        self, choice: ComponentChoice | None, plain: Node, seed: int, label: str, control: str
    ) -> dict[str, Node]:
        """Measure what a baseline attack makes of the undefended target."""
        if choice is None:
            return {}
        attack = self._chooser.frozen("attack", choice)
        images = self._graph.reconstruct(plain, attack, seed, f"{attack.name} on {label}", self._prior(attack))
        return self._measures(plain, images, control)

    def _measures(self, target: Node, images: Node | None, label: str) -> dict[str, Node]:
        """Measure a target, or images, with the protocol's metrics on that."""
        subject = "target" if images is None else "reconstructions"
        return {
            metric.name: self._graph.measure(metric, target=target, images=images, label=label)
            for metric in self._graph.fixed.metrics
            if metric.traits.subject == subject
        }

    def _prior(self, attack: Resolved) -> Resolved:
        """Return the prior that an attack brings, with what the protocol freezes of it, else the protocol's.

        One that comes out as the protocol's own is that: a record must not call it overridden.
        """
        frozen, choice = self._graph.fixed.prior, attack.settled.prior
        listed = self._chooser.protocol.priors
        prior = self._chooser.changed("prior", listed.get(choice) or parse_choice(choice)) if choice else frozen
        if prior.traits.needs_target and attack.traits.access != "white-box":
            raise UsageError(
                f"attack {attack.name!r} declares {attack.traits.access} access; the prior {prior.name!r} is trained"
                " with the target's gradients. Choose a prior that is trained on public images alone."
            )
        self._check_compatible(attack, prior)
        return frozen if prior.entry() == frozen.entry() else prior

    def _check_compatible(self, attack: Resolved, prior: Resolved) -> None:
        pair = digest(attack.entry().json()), digest(prior.entry().json())
        if pair not in self._compatible:
            fixed = self._graph.fixed
            check_compatibility(self._chooser.facts, attack, prior, fixed.protocol.image, len(fixed.identities.private))
            self._compatible.add(pair)


def _check_trainable(model: Resolved, defense: Resolved, undefended: Resolved) -> None:
    """Refuse a defense on a network that nobody trains any more."""
    if model.traits.comes_trained and defense.entry() != undefended.entry():
        raise UsageError(
            f"the model {model.name!r} comes trained, so the defense {defense.requested!r} has nothing to train. Name"
            " another model with --model, to see what that defense does for the same people."
        )


def _label(model: Resolved, defense: str, seed: int) -> str:
    return f"{defense} · {model.name} · seed {seed}"
