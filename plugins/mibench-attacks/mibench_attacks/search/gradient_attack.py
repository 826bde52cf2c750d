"""The parameters that every gradient attack of this distribution has: its prior, and the alignment of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mibench.api import Attack, FlatNames, OmitIfDefault
from mibench_attacks.views.alignment import Alignment


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """Base of white-box attacks that descend a loss of rendered images.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; empty takes the protocol's.
        alignment: of gradients with the manifold of images (AlignMI).
    """

    prior: Annotated[str, OmitIfDefault()] = ""
    alignment: Annotated[Alignment, FlatNames(kind="align"), OmitIfDefault()] = Alignment()

    def prior_choice(self) -> str | None:
        """Return the chosen prior."""
        return self.prior or None
