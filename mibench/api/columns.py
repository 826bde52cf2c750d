"""What a metric announces of its columns and flags, so that boards can check them without importing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from mibench.api.column_names import read_name
from mibench.api.quantity import Quantity, Role, column_name

EVALUATOR, EACH = "{evaluator}", "{each}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that a metric reports, so that a board can tell a sound record without importing the metric.

    Attributes:
        name: exact name; made of ``base`` (or ``role``), ``k``, ``evaluator``, ``attack``, ``part`` and ``radius`` if
            it is left out. ``{evaluator}`` stands for the name of each evaluator of the protocol, ``{each}`` for each
            value of the parameter ``each``.
        unit: as in the measurement.
        higher_is_better: from the defender's point of view.
        low: least value that there can be; ``None`` for no bound.
        high: largest value; ``None`` for no bound.
        average: whether the value is the mean of one value per image; else it lies between those of the classes.
        images: what is measured: all held-out images, all images that an attack ``delivered``, or ``some``.
        optional: whether it may be absent.
        each: a parameter of the metric that holds numbers.
        scale: what each of them is multiplied by before it is written with up to four digits; 255 for radii in a name
            that is left out.
        role: as in the measurement, and so the next five; what no field states is read from the name.
        base: short name of the number.
        k: guesses that count as a hit.
        evaluator: ``"{evaluator}"`` for one column for each evaluator.
        attack: the attack of an ensemble that ran alone.
        part: private images other than the held-out ones.
        radius: whether each value of ``each`` is the radius of a perturbation in [0, 1] units.
    """

    name: str = ""
    unit: str = "fraction"
    higher_is_better: bool = False
    low: float | None = 0.0
    high: float | None = 1.0
    average: bool = True
    images: Literal["heldout", "delivered", "some"] = "delivered"
    optional: bool = False
    each: str = ""
    scale: float = 1.0
    role: Role = ""
    base: str = ""
    k: int | None = None
    evaluator: str = ""
    attack: str = ""
    part: str = ""
    radius: bool = False

    def __post_init__(self) -> None:
        if self.radius and not self.each:
            raise ValueError(f"column {self.name or self.base or self.role!r}: a radius is a value of `each`; state it")
        if not self.name:
            first, *rest = column_name(self._quantity(None)).split("/")
            object.__setattr__(self, "name", "/".join([f"{first}@{EACH}" if self.radius else first, *rest]))
            object.__setattr__(self, "scale", 255.0 if self.radius else self.scale)

    def expand(self, params: Mapping[str, Any], evaluators: Sequence[str]) -> Iterator[ExpandedColumn]:
        """Yield the column, or one for each evaluator and each value of a parameter.

        Args:
            params: parameters of the metric.
            evaluators: names of the protocol's evaluators.
        """
        for judge in evaluators if EVALUATOR in self.name else ("",):
            for value in params[self.each] if self.each else (None,):
                told = "" if value is None else f"{value * self.scale:.4g}"
                column = replace(
                    self,
                    name=self.name.replace(EVALUATOR, judge).replace(EACH, told),
                    evaluator=judge or self.evaluator,
                )
                yield ExpandedColumn(column, column._meant(value))

    def _meant(self, radius: float | None) -> Quantity:
        states = (self.role, self.base, self.k, self.attack, self.part, self.radius or None)
        if not any(field not in ("", None) for field in states):
            return read_name(self.name)
        return self._quantity(radius if self.radius else None).named()

    def _quantity(self, radius: float | None) -> Quantity:
        return Quantity(
            role=self.role,
            base=self.base,
            k=self.k,
            evaluator=self.evaluator,
            attack=self.attack,
            part=self.part,
            radius=radius,
        )


class ExpandedColumn(NamedTuple):
    """One column of a record.

    Attributes:
        column: what is announced of it, under its own name.
        quantity: what its number is.
    """

    column: Column
    quantity: Quantity


@dataclass(frozen=True, kw_only=True)
class MetricFlag:
    """A flag that a metric raises by naming it in ``details["flags"]`` of a measurement.

    Attributes:
        id: stable name of the flag.
        detail: the number, or true or false, in the same details that it follows from.
        above: the flag is raised if that is larger.
        text: one sentence for people; ``{detail:.0%}`` and the like stand for that number, the largest among the
            metric's columns. Empty to say only which column raised it.
    """

    id: str
    detail: str
    above: float = 0.0
    text: str = ""
