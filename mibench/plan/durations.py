"""How long the nodes of one protocol take, as far as the protocol says."""

from __future__ import annotations

import math

from mibench.api.errors import UsageError
from mibench.nodes.inputs import Inputs
from mibench.nodes.measure import MeasureInputs
from mibench.nodes.node import Node
from mibench.nodes.prior import PriorInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.plan.facts import Facts
from mibench.plan.resolve import parse_choice, resolve
from mibench.protocol.schema import ComponentChoice, Protocol
from mibench.registry.entry import Entry


class Durations:
    """Looks nodes up in a protocol's ``expected_seconds``.

    A figure holds for the component that the protocol means by the name, or for the preset that it names: with other
    parameters, or with another model in a target, nothing is known.
    """

    def __init__(self, protocol: Protocol, facts: Facts) -> None:
        self._protocol, self._facts = protocol, facts
        self._frozen: dict[str, ComponentChoice] = {
            **{f"{ReconstructInputs.timed_as}/{name}": choice for name, choice in protocol.attacks.items()},
            f"{ReconstructInputs.timed_as}/{protocol.floor.name}": protocol.floor,
            **{f"{ReconstructInputs.timed_as}/{one.name}": one for one in (protocol.lookalike,) if one},
            f"{PriorInputs.timed_as}/{protocol.prior.name}": protocol.prior,
            **{f"{MeasureInputs.timed_as}/{choice.name}": choice for choice in protocol.metrics},
        }

    def of(self, node: Node) -> float | None:
        """Return expected seconds on the protocol's ``expected_on``; ``None`` if nothing is known."""
        inputs = node.inputs
        if inputs.timed_by_component:
            return self._named(inputs)
        components = inputs.components()
        if not all(self._means(*components[field], getattr(self._protocol, field)) for field in inputs.timed_for):
            return None
        known = self._protocol.expected_seconds.get(inputs.timed_as)
        if known is None:
            return inputs.light_seconds
        for kind, entry in components.values():
            known *= self._facts.cost(entry) if kind == "defense" else 1.0
        return known if math.isfinite(known) else None  # an estimate is no reason to stop

    def _named(self, inputs: Inputs) -> float | None:
        kind, entry = inputs.components()[inputs.runs]
        own = f"{inputs.timed_as}/{entry.name}"
        for key, seconds in self._protocol.expected_seconds.items():
            if key == own or key.startswith(f"{own}/"):
                choice = self._frozen.get(key) or parse_choice(key.removeprefix(f"{inputs.timed_as}/"))
                if self._means(kind, entry, choice):
                    return seconds
        return inputs.light_seconds

    def _means(self, kind: str, entry: Entry, choice: ComponentChoice) -> bool:
        if choice.name != entry.name:
            return False
        try:
            meant = resolve(self._facts, kind, choice, protocol=self._protocol).params
        except UsageError:  # a preset whose files are not here, say
            return False
        # What acts only in deployment is no part of a prior's entry.
        return all(name in meant and meant[name] == value for name, value in entry.params.items())
