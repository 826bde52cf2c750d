"""What stages report beside numbers, as a record holds it: self-check, spent queries, environment.

Fields that a record does not state are absent from its JSON, not ``null``: records of every age keep their bytes.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from mibench.api.params import STRICT

Count = Annotated[int, Ge(0)]
Signal = bool | int | float | str
"""A number as it was; one that is not finite is text."""
Text = str | list[str] | None
"""What the stages of a cell agree on, else all that they state."""
Number = int | None | list[int | None]


class Report(BaseModel):
    """Base of the reports: frozen, without unknown fields, and written as it was read."""

    model_config = STRICT

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_stated(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return {name: value for name, value in dumped.items() if name in self.model_fields_set}


class SelfCheckReport(Report):
    """Whether the defense did what it is meant to do during training.

    Attributes:
        active: its own verdict; ``None`` if there is none.
        signals: the numbers behind it.
        reason: one line for people.
    """

    active: bool | None = None
    signals: dict[str, Signal] = Field(default_factory=dict)
    reason: str = ""


class Queries(Report):
    """What was asked of the target, in images.

    Attributes:
        forward: images passed through it.
        backward: images whose gradient was taken.
        render: images rendered by the prior.
    """

    forward: Count
    backward: Count
    render: Count

    def plus(self, others: list[Queries]) -> Queries:
        """Return the sum with others."""
        together = [self, *others]
        return Queries(**{name: sum(getattr(one, name) for one in together) for name in Queries.model_fields})


class QueryLimits(Report):
    """The most that an attack may ask per class; ``None`` is unlimited.

    Attributes:
        forward: images passed through the target.
        backward: images whose gradient is taken.
    """

    forward: Count | None = None
    backward: Count | None = None


class LossTrend(Report):
    """Where the attack's loss began and ended, as a mean over classes.

    Attributes:
        loss_first: at the first step.
        loss_last: at the last step.
        not_finite: classes whose loss began or ended with no number, and which are left out.
    """

    loss_first: float | str | None = None
    loss_last: float | str | None = None
    not_finite: Count = 0


class LedgerReport(Report):
    """What an attack has spent.

    Attributes:
        shared: on all classes together.
        per_class: on each class, by label.
        total: the sum.
        budget: the protocol's limits.
        trace: the course of the attack's loss.
        failed: why the attack delivered nothing for a class, by label.
        chosen_by: the evaluator by which an attack chose that was handed one.
        prior_training: what training a prior for this target asked of it, apart from the attack's own queries.
    """

    shared: Queries | None = None
    per_class: dict[str, Queries] = Field(default_factory=dict)
    total: Queries | None = None
    budget: QueryLimits | None = None
    trace: LossTrend | None = None
    failed: dict[str, str] = Field(default_factory=dict)
    chosen_by: str | None = None
    prior_training: Queries | None = None


class EnvironmentReport(Report):
    """What the stages of a cell were computed with. No host names, users or paths.

    Attributes:
        python: version of Python.
        platform: system and machine.
        packages: version by package.
        device: ``"cpu"``, or the name of the GPU.
        cuda: version of CUDA; ``None`` on a CPU.
        cores: cores of the machine.
        threads: threads that torch used.
        precision: of the arithmetic.
        note: says that stages differ.
        differences: for each thing in which stages differ, which stages had which value.
        not_stated_by: stages whose manifests, of older versions, leave most of this open.
    """

    # It explains numbers and enters no comparison, so what another version adds is kept, not refused.
    model_config = ConfigDict(extra="allow", frozen=True)

    python: Text = None
    platform: Text = None
    packages: dict[str, str | list[str]] = Field(default_factory=dict)
    device: Text = None
    cuda: str | list[str | None] | None = None
    cores: Number = None
    threads: Number = None
    precision: Text = None
    note: str = ""
    differences: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    not_stated_by: list[str] = Field(default_factory=list)
