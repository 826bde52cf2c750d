"""The contract of studies: arms that are run, an analysis of their records, and a verdict by a rule stated before.

Imports neither torch nor numpy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from mibench.api.errors import UsageError
from mibench.api.quantity import Quantity

Answer = Literal["holds", "does not hold", "cannot be told"]
"""What a verdict says of the claim that a study puts to the test."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Targets that are trained in one way.

    Attributes:
        name: unique in its study; what figures and tables call it.
        defense: ``name``, ``name/preset``, or defenses joined by ``+``; empty for the protocol's undefended control.
        params: parameters that differ from what it has under the protocol; of a single defense only.
        seeds: target seeds; empty for those of the study.
        family: of the defense, e.g. ``"dependency"``; groups arms in figures and regressions.
        optional: left out, with the reason, where it cannot be planned (a network that the defense does not take);
            else the study is refused.
    """

    name: str
    defense: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    family: str = ""
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ExtraMetric:
    """A metric that a study measures beside those of the protocol.

    Attributes:
        name: registered name.
        params: its parameters.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is run and what was drawn for it; written down before the first training starts.

    Attributes:
        arms: at least one; the undefended control runs in any case.
        notes: what else was fixed beforehand, plain JSON, e.g. how an assignment was drawn.
    """

    arms: tuple[Arm, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a design needs arms with names of their own, got {names}")


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """What a study may know when it is designed.

    Attributes:
        protocol: ``name@version``.
        undefended: name of the defense that stands for plain training.
        seeds: target seeds of arms that name none.
        defenses: installed defenses by name, each with its family (empty if it states none).
        settled: returns all parameters that ``name`` or ``name/preset`` of a defense has under the protocol.
        folds: of the protocol; a target with seed s is trained on the private people of fold s modulo this number.
    """

    protocol: str
    undefended: str
    seeds: tuple[int, ...]
    defenses: Mapping[str, str]
    settled: Callable[[str], Mapping[str, Any]]
    folds: int = 1


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number of a record, as :class:`mibench.api.Measurement`, with its interval.

    Attributes:
        value: the estimate.
        ci95: 95 % interval over classes; ``None`` if it cannot be formed.
        unit: its unit.
        higher_is_better: from the defender's point of view.
        quantity: what it is.
        per_class: one value per class.
        details: what else the metric reports.
    """

    value: float
    ci95: tuple[float, float] | None
    unit: str
    higher_is_better: bool
    quantity: Quantity
    per_class: tuple[float | None, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One finished cell: an attack on one trained target.

    Attributes:
        arm: name of its arm.
        family: of the arm.
        model: architecture.
        defense: name.
        params: parameters of the defense.
        attack: name, or ``name/preset``.
        access: what of the target the attack uses; empty if the record does not say.
        seed: target seed.
        metrics: numbers by column.
        controls: the same by control (``gold``, ``floor``, ``undefended``, ``lookalike``).
        headline: name of the leakage column that ranks.
        leakage: headline between floor (0) and gold (1); ``None`` if the two cannot be told apart.
        flags: computed warnings.
        signals: of the defense's own check, e.g. how often its inner attack succeeds.
    """

    arm: str
    family: str = ""
    model: str
    defense: str
    params: Mapping[str, Any]
    attack: str
    access: str = ""
    seed: int
    metrics: Mapping[str, Number]
    controls: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    headline: str
    leakage: float | None
    flags: tuple[str, ...] = ()
    signals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Leakage of one arm minus that of another, in units of the headline; positive means that the first leaks more.

    Attributes:
        value: the difference.
        ci95: its 95 % interval; ``None`` with fewer than two people.
        p: two-sided p of no difference; ``None`` likewise.
        people: attacked people in both.
        seeds: target seeds in both.
    """

    value: float
    ci95: tuple[float, float] | None
    p: float | None
    people: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class StudyEvidence:
    """All that an analysis may read.

    Attributes:
        study: name of the study.
        protocol: ``name@version``.
        headline: leakage column that ranks.
        unit: its unit.
        design: as it was written down.
        cells: finished cells of its arms, baselines left out.
        absent: label and reason of planned cells without a record, and of arms that were left out.
        command: makes what is missing.
        compare: paired comparison of two arms by name, over people, seeds and the given attacks (all if empty), worst
            case over these on both sides; ``None`` if they have nothing in common.
    """

    study: str
    protocol: str
    headline: str
    unit: str
    design: Design
    cells: tuple[CellResult, ...]
    absent: tuple[tuple[str, str], ...] = ()
    command: str = ""
    compare: Callable[[str, str, tuple[str, ...]], Difference | None] = lambda *_: None

    def require(self, found: int, wanted: int, what: str) -> None:
        """Refuse an analysis of too little.

        Raises:
            TooFewRecords: if fewer were found than are wanted; it says how many are missing, and the command.
        """
        if found < wanted:
            raise TooFewRecords(
                f"the study {self.study} needs {wanted} {what} and has {found}: {wanted - found} missing. Make them"
                f" with: {self.command} (and other seeds, with --seed, if these are done)"
            )


class TooFewRecords(UsageError):
    """An analysis has too few records to say anything."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a page, written as CSV too.

    Attributes:
        title: one line.
        columns: headings.
        rows: cells; numbers, text or ``None``.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture of a page.

    Attributes:
        title: one line.
        description: what it shows, for those who do not see it.
        svg: as a file of that kind.
        png: likewise.
    """

    title: str
    description: str
    svg: bytes
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What an analysis found.

    Attributes:
        answer: whether the claim holds, by the rule of the study and the numbers alone.
        verdict: the same in words, with the numbers.
        tables: by name, which is the name of the file.
        figures: likewise.
        notes: what a reader has to know, one sentence each.
    """

    answer: Answer
    verdict: str
    tables: Mapping[str, Table]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Study(ABC):
    """A study component: a frozen dataclass of parameters.

    Attributes:
        presets: named parameter sets.
        claim: what is put to the test, one sentence.
        rule: when the answer is which, in words; it is written down before anything runs.
        adopts: whether records that fit no arm, as those of a board, take part as arms of their own.
        variant: of the protocol that runs if a request does not say.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    claim: ClassVar[str]
    rule: ClassVar[str]
    adopts: ClassVar[bool] = False
    variant: ClassVar[Literal["test", "validation"]] = "test"

    def metrics(self) -> Sequence[ExtraMetric]:
        """Return what is measured beside the protocol's metrics. With any, no board accepts the records."""
        return ()

    @abstractmethod
    def design(self, ctx: StudyContext) -> Design:
        """Return what is run. Whatever is drawn is drawn here, from parameters of the study."""

    @abstractmethod
    def analyse(self, evidence: StudyEvidence) -> Findings:
        """Return what the records say.

        Raises:
            TooFewRecords: if they say nothing; see :meth:`StudyEvidence.require`.
        """
