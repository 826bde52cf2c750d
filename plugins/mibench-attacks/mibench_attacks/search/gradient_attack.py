"""The parameters that every gradient attack of this distribution has: its prior, and the alignment of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from mibench.api import Attack, OmitIfDefault
from mibench_attacks.views.alignment import Align, Alignment


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """Base of white-box attacks that descend a loss of rendered images.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; empty takes the protocol's.
        align: average each gradient over copies (AlignMI): 'none', 'paa' with noise, 'taa' with crop, flip, rotation.
        n_aug: copies, if gradients are averaged; the paper uses 50 and finds 20 enough.
        noise: standard deviation of the noise of 'paa', in [0, 1] units.
    """

    prior: Annotated[str, OmitIfDefault()] = ""
    align: Annotated[Align, OmitIfDefault()] = "none"
    n_aug: Annotated[int, Ge(1), OmitIfDefault()] = 50
    noise: Annotated[float, Gt(0), OmitIfDefault()] = 0.05

    def prior_choice(self) -> str | None:
        """Return the chosen prior."""
        return self.prior or None

    @property
    def alignment(self) -> Alignment:
        """How gradients are averaged."""
        return Alignment(kind=self.align, n_aug=self.n_aug, noise=self.noise)
