"""Descent on the parameters of a distribution, of which every step draws samples (VMI)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch.optim import SGD

from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam


@dataclass(frozen=True, kw_only=True)
class FlowSearch:
    """Descent on the parameters of the flows.

    Attributes:
        optimizer: 'sgd' with momentum is the paper's; 'adam' gets somewhere in few steps.
        lr: learning rate.
        momentum: of sgd.
        steps: updates; the paper's 31 epochs of 157.
        samples: samples of q in each step, rendered together.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Gt(0)] = 1e-4
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    steps: Annotated[int, Ge(0)] = 31 * 157
    samples: Annotated[int, Ge(1)] = 64

    def descent(self) -> GradientSearch:
        """Return the search loop."""
        sgd = partial(SGD, lr=self.lr, momentum=self.momentum)
        return GradientSearch(steps=self.steps, optimizer=adam(self.lr) if self.optimizer == "adam" else sgd)
