"""The part of a protocol that has parameters for components which it does not freeze."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mibench.protocol.frozen import Frozen


class ProtocolPresets(Frozen):
    """Parameters that components take under this protocol unless other ones are asked for.

    They are no part of the digest: whatever a component runs with is in its keys and records, and a component that the
    protocol's author does not know may bring a preset of the protocol's name itself. By kind and registered name, each
    is a mapping of the parameters that differ from the defaults, or the name of one of the component's own presets.

    Attributes:
        like: an installed protocol whose presets stand for components that are not named here.
        dataset: of datasets.
        model: of models and embedders.
        prior: of priors that attacks bring, and of the protocol's.
        defense: of defenses.
        attack: of attacks that ``Protocol.attacks`` does not freeze.
        metric: of metrics.
    """

    like: str | None = None
    dataset: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    model: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    prior: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    defense: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    attack: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    metric: dict[str, str | dict[str, Any]] = Field(default_factory=dict)

    def of(self, kind: str) -> dict[str, str | dict[str, Any]]:
        """Return the presets of a kind by name of the component; none for kinds that have no parameters here."""
        found: dict[str, str | dict[str, Any]] = getattr(self, kind) if kind in PRESET_KINDS else {}
        return found


PRESET_KINDS = tuple(name for name in ProtocolPresets.model_fields if name != "like")
