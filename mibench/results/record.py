"""The record: everything about one cell, as one JSON document. Numbers, evidence, provenance, and how to repeat it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from mibench.api.params import STRICT
from mibench.api.quantity import Quantity
from mibench.results.reports import EnvironmentReport, LedgerReport, SelfCheckReport

SCHEMA_VERSION = 1
Control = Literal["gold", "floor", "undefended", "lookalike"]


class Part(BaseModel):
    """Base of all parts of a record."""

    model_config = STRICT


class ProtocolRef(Part):
    """Which protocol, exactly.

    Attributes:
        name: protocol name.
        version: ``major.minor``.
        digest: sha256 of the canonical JSON of its content.
        variant: ``"test"``, or ``"validation"`` for tuning runs, which no leaderboard accepts.
        headline: the leakage metric that ranks.
    """

    name: str
    version: str
    digest: str
    variant: Literal["test", "validation"]
    headline: str


class ComponentRef(Part):
    """One component with its provenance.

    Attributes:
        kind: defense, attack, model, ...
        name: registered name.
        distribution: the pip distribution that provides it.
        distribution_version: its version.
        version: version of the component's numbers.
        preset: named parameter set that was the starting point.
        params: all parameters, defaults included.
        overridden: whether the user changed parameters that the protocol or the preset had set.
        source_digest: sha256 over the distribution's Python sources.
        licence: SPDX identifier.
        access: of an attack, what of the target it uses; of a defense, the attacker it is meant to hold against
            ("black-box" if one who sees the weights looks through it); ``None`` for other kinds and in old records.
        baseline: an attack that optimises nothing and serves as a control; no board counts it as a worst case.
        comes_trained: a model that somebody else has trained, in a way that nobody here can repeat.
    """

    kind: str
    name: str
    distribution: str
    distribution_version: str
    version: str
    preset: str | None = None
    params: dict[str, Any]
    overridden: bool = False
    source_digest: str
    licence: str = "MIT"
    access: str | None = None
    baseline: bool = False
    comes_trained: bool = False

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first records while it is unset, so that their digests stay."""
        dumped: dict[str, Any] = dump(self)
        if self.access is None:
            dumped.pop("access", None)
        if not self.baseline:
            dumped.pop("baseline", None)
        if not self.comes_trained:
            dumped.pop("comes_trained", None)
        return dumped


class CellRef(Part):
    """Which cell of the matrix.

    Attributes:
        model: architecture name.
        defense: defense name.
        attack: attack name.
        attack_preset: the preset of the attack, if one was asked for by name; it makes another attack of it.
        seed: target seed.
        key: sha256 of everything that can change the cell's numbers.
    """

    model: str
    defense: str
    attack: str
    attack_preset: str | None = None
    seed: int
    key: str

    @property
    def attack_label(self) -> str:
        """What to type for the attack: ``name``, or ``name/preset``."""
        return f"{self.attack}/{self.attack_preset}" if self.attack_preset else self.attack

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first records while it is unset, so that their digests stay."""
        dumped: dict[str, Any] = dump(self)
        if self.attack_preset is None:
            dumped.pop("attack_preset", None)
        return dumped


class MetricValue(Part):
    """One measured number.

    Attributes:
        value: the estimate.
        ci95: 95 % interval from a bootstrap over classes; ``None`` if it cannot be formed.
        n: images behind it.
        unit: unit.
        higher_is_better: from the defender's point of view.
        group: utility, leakage, robustness, dependency or cost.
        per_class: one value per class.
        details: what else the metric reports.
        quantity: what the number is; ``None`` where the column's name says it (``mibench.api.column_names``).
    """

    value: float
    ci95: tuple[float, float] | None
    n: int
    unit: str
    higher_is_better: bool
    group: str
    per_class: list[float | None]
    details: dict[str, Any] = Field(default_factory=dict)
    quantity: Quantity | None = None

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first records while it is unset, so that their digests stay."""
        dumped: dict[str, Any] = dump(self)
        if self.quantity is None:
            dumped.pop("quantity", None)
        else:
            dumped["quantity"] = self.quantity.stated()
        return dumped


class Flag(Part):
    """A computed warning.

    Attributes:
        id: stable name, e.g. ``"defense-inactive"``.
        text: one sentence for people.
    """

    id: str
    text: str


class Failure(Part):
    """Why a cell has no numbers.

    Attributes:
        stage: the stage that failed.
        error: message.
    """

    stage: str
    error: str


class Origin(Part):
    """What a record was before: under another version of its protocol, or in an older form.

    Attributes:
        protocol: ``name@version`` that it was of.
        digest: the digest that it had.
        change: what made it this one. ``"cosmetic"``: it was carried over to a version of the protocol that changes no
            number. ``"regradable"``: the same reconstructions were measured again. ``"schema"``: it had an older form.
        schema_version: of the form that it had.
    """

    protocol: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]{0,63}@\d{1,6}\.\d{1,6}$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    change: Literal["cosmetic", "regradable", "schema"]
    schema_version: int = SCHEMA_VERSION


class Record(Part):
    """One cell's result.

    Attributes:
        schema_version: version of this format.
        status: ``done`` or ``failed``; failed cells are rows too.
        failure: why, for failed cells.
        protocol: which protocol.
        cell: which cell.
        components: every component that took part, by role ("defense", "evaluator:small-resnet", ...).
        classes: the target's classes and the identity behind each, as ``{"label": identity}``.
        attacked: the classes that were attacked, where the protocol attacks only some; metrics, gold and floor of
            reconstructions are over these alone. ``None`` is all.
        inputs: digests of artifacts by role (data, prior, evaluators, target, reconstructions).
        metrics: measured numbers by name.
        controls: the same leakage metrics on ``gold``, ``floor`` and ``undefended``, and on
            ``lookalike`` where the protocol has that control.
        normalized_leakage: headline between floor (0) and gold (1); ``None`` if the two coincide.
        self_check: the defense's own activation signal.
        flags: computed warnings.
        ledger: queries spent and their budget.
        environment: packages, threads, device, precision.
        command: the command that repeats this cell.
        timings: seconds per stage; outside of what is compared.
        origins: what this record was before, oldest first; empty for one that a run wrote. Outside of what is compared,
            so that a run under this protocol has the same digest.
        digest: sha256 of the canonical JSON of the compared part.
    """

    schema_version: int = SCHEMA_VERSION
    status: Literal["done", "failed"] = "done"
    failure: Failure | None = None
    protocol: ProtocolRef
    cell: CellRef
    components: dict[str, ComponentRef]
    classes: dict[str, int] = Field(default_factory=dict)
    attacked: list[int] | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    controls: dict[Control, dict[str, MetricValue]] = Field(default_factory=dict)
    normalized_leakage: float | None = None
    self_check: SelfCheckReport = Field(default_factory=SelfCheckReport)
    flags: list[Flag] = Field(default_factory=list)
    ledger: LedgerReport = Field(default_factory=LedgerReport)
    environment: EnvironmentReport = Field(default_factory=EnvironmentReport)
    command: str = ""
    timings: dict[str, float] = Field(default_factory=dict)
    origins: Annotated[list[Origin], Field(max_length=64)] = Field(default_factory=list)
    digest: str = ""

    @property
    def attacked_classes(self) -> int:
        """Number of attacked classes; 0 in a record that states none."""
        return len(self.classes if self.attacked is None else self.attacked)

    @model_serializer(mode="wrap")
    def _leave_out_new_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the first records while it is unset, so that their digests stay."""
        dumped: dict[str, Any] = dump(self)
        if self.attacked is None:
            dumped.pop("attacked", None)
        if not self.origins:
            dumped.pop("origins", None)
        return dumped
