"""The searches of GMI and KED-MI under one set of parameters, for attacks that take either as their host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from mibench.api import UsageError
from mibench_attacks.search.latent_search import GaussianSearch, LatentSearch, PointSearch

Host = Literal["gmi", "ked"]


@dataclass(frozen=True, kw_only=True)
class HostSearch:
    """Parameters of both searches; each host reads its own.

    Attributes:
        candidates: images found per class: restarts of 'gmi', draws of 'ked'.
        steps: updates.
        lr: learning rate of the host.
        samples: noises per step of 'ked'.
        momentum: Nesterov's of 'gmi', in [0, 1).
        batch_ref: classes in the batch of the released code; the effective rate of 'gmi' is lr / batch_ref.
        clip: bound of each coordinate of the noise; 0 leaves 'ked' unbounded.
    """

    candidates: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 2400
    lr: Annotated[float, Gt(0)] = 0.02
    samples: Annotated[int, Ge(1)] = 1
    momentum: Annotated[float, Gt(0), Lt(1)] = 0.9
    batch_ref: Annotated[int, Ge(1)] = 60
    clip: Annotated[float, Ge(0)] = 1.0

    def check(self, host: Host, *, attack: str) -> None:
        """Raise a ``UsageError`` for a clip that the host cannot have."""
        if host == "gmi" and self.clip == 0:
            raise UsageError(f"attack {attack!r}: host 'gmi' searches within a box; set clip > 0")

    def of(self, host: Host) -> LatentSearch:
        """Return the search of a host."""
        if host == "gmi":
            return PointSearch(
                restarts=self.candidates, steps=self.steps, lr=self.lr, momentum=self.momentum,
                batch_ref=self.batch_ref, clip=self.clip,
            )  # fmt: skip
        return GaussianSearch(samples=self.samples, draws=self.candidates, steps=self.steps, lr=self.lr, clip=self.clip)
