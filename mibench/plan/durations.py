"""How long the nodes of one protocol take, as far as the protocol says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mibench.api.errors import UsageError
from mibench.plan.facts import Facts
from mibench.plan.node import Node
from mibench.plan.resolve import parse_choice, resolve
from mibench.protocol.schema import ComponentChoice, Protocol

LIGHT = {"data": 5.0, "gold": 1.0, "measure": 3.0}
NAMED = {"prior": "prior", "reconstruct": "attack", "measure": "metric"}


class Durations:
    """Looks nodes up in a protocol's ``expected_seconds``.

    A figure holds for the component that the protocol means by the name, or for the preset that it names: with other
    parameters, or with another model in a target, nothing is known.
    """

    def __init__(self, protocol: Protocol, facts: Facts) -> None:
        self._protocol, self._facts = protocol, facts
        self._frozen: dict[str, ComponentChoice] = {
            **{f"reconstruct/{name}": choice for name, choice in protocol.attacks.items()},
            f"reconstruct/{protocol.floor.name}": protocol.floor,
            f"prior/{protocol.prior.name}": protocol.prior,
            **{f"measure/{choice.name}": choice for choice in protocol.metrics},
        }

    def of(self, node: Node) -> float | None:
        """Return expected seconds on two CPU cores; ``None`` if nothing is known."""
        if node.stage in NAMED:
            return self._named(node.stage, node.payload[NAMED[node.stage]])
        known = self._protocol.expected_seconds.get("target" if node.stage == "pretrain" else node.stage)
        if node.stage in ("target", "pretrain") and not self._means(
            "model", self._protocol.model, node.payload["model"]
        ):
            return None
        if known is not None and node.stage == "target":
            known *= self._facts.cost(node.payload["defense"])
            return known if math.isfinite(known) else None  # an estimate is no reason to stop
        return LIGHT.get(node.stage) if known is None else known

    def _named(self, stage: str, entry: Mapping[str, Any]) -> float | None:
        own = f"{stage}/{entry['name']}"
        for key, seconds in self._protocol.expected_seconds.items():
            if key == own or key.startswith(f"{own}/"):
                choice = self._frozen.get(key) or parse_choice(key.removeprefix(f"{stage}/"))
                if self._means(NAMED[stage], choice, entry):
                    return seconds
        return LIGHT.get(stage)

    def _means(self, kind: str, choice: ComponentChoice, entry: Mapping[str, Any]) -> bool:
        if choice.name != entry["name"]:
            return False
        try:
            meant = resolve(self._facts, kind, choice, protocol=self._protocol).params
        except UsageError:  # a preset whose files are not here, say
            return False
        # What acts only in deployment is no part of a prior's entry.
        return all(name in meant and meant[name] == value for name, value in entry["params"].items())
