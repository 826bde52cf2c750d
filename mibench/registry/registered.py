"""A component's spec together with where it came from."""

from __future__ import annotations

from dataclasses import dataclass

from mibench.api.specs import Kind, Spec


@dataclass(frozen=True)
class Registered:
    """A spec with its provenance.

    Attributes:
        spec: what the plugin says about the component.
        distribution: the pip distribution that provides it.
        distribution_version: its version.
        module: the plugin's module.
        file: the file of that module; empty if it has none.
    """

    spec: Spec
    distribution: str
    distribution_version: str
    module: str
    file: str

    @property
    def kind(self) -> Kind:
        """Kind of the component."""
        return self.spec.kind

    @property
    def name(self) -> str:
        """What to ask for it by: the component's name."""
        return self.spec.asked_as
