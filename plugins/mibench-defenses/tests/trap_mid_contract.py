"""The contract of Trap-MID, whose step needs what ``build`` left in the extras of the training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mibench_defenses.methods.trap_mid import TrapMid

from mibench.api import TrainContext
from mibench.testing import DefenseContract, TinyWorld


@dataclass(frozen=True, kw_only=True)
class OneRun(TinyWorld):
    """Every context has the extras that ``build`` made, as in a training."""

    extras: dict[str, Any] = field(default_factory=dict)

    def context(self, **kwargs) -> TrainContext:
        return replace(super().context(**kwargs), extras=self.extras)


class TrapMidContract(DefenseContract):
    component = TrapMid

    def _first_step(self):
        self.world = OneRun()
        return super()._first_step()
