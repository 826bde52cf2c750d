"""What a measured number is, as fields: its role, and how often, by whom, on what and how far away it was measured.

A column's name says the same in short; :mod:`mibench.api.column_names` reads names. Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

Role = Literal["", "accuracy", "attack_accuracy", "re_identification", "robust_accuracy"]
"""What boards, reports and flags look for. ``accuracy``: the target is right about private images.
``attack_accuracy``: an evaluator recognises the attacked class in a reconstruction. ``re_identification``: an
independent judge of identity matches a reconstruction to its person. ``robust_accuracy``: the target is still right
under every perturbation up to a radius. Other numbers have none."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a number is.

    Attributes:
        role: what it means to boards, reports and flags; empty for numbers that mean something to their metric alone.
        base: short name of the number, with which its column's name begins; the role if it is empty.
        k: guesses that count as a hit; ``None`` if it is no share of hits among the first ``k``.
        evaluator: the evaluator that judged; empty without one, and for a mean over all of them.
        attack: one attack of an ensemble, which ran alone; empty for the ensemble, and where there is none.
        part: the private images that were measured where these are not the held-out ones, e.g. ``"train"``.
        radius: size of the perturbation in [0, 1] units; ``None`` without one.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    role: Role = ""
    base: str = ""
    k: int | None = None
    evaluator: str = ""
    attack: str = ""
    part: str = ""
    radius: float | None = None

    @property
    def family(self) -> Quantity:
        """The same with any number of guesses: numbers of one family are shares of the same ranks."""
        return replace(self.named(), k=None)

    def named(self) -> Quantity:
        """Return the same with its base filled in."""
        return replace(self, base=self.base or self.role)

    def stated(self) -> dict[str, Any]:
        """Return the fields that say something, as plain JSON."""
        found = {field.name: getattr(self, field.name) for field in fields(Quantity)}
        return {name: value for name, value in found.items() if value not in ("", None)}


def column_name(quantity: Quantity) -> str:
    """Return the name of a quantity's column: ``base``, ``@k`` or ``@radius x 255``, then attack, evaluator and part.

    Raises:
        ValueError: without role and base, and for a number that has guesses and a radius.

    >>> column_name(Quantity(base="attack_acc", k=5, evaluator="resnet"))
    'attack_acc@5/resnet'
    >>> column_name(Quantity(role="robust_accuracy", radius=2 / 255))
    'robust_accuracy@2'
    """
    base = quantity.base or quantity.role
    if not base:
        raise ValueError("a column has no name: state a name, a base or a role")
    if quantity.k is not None and quantity.radius is not None:
        raise ValueError(f"{base} has guesses and a radius; state a name for such a column")
    at = "" if quantity.k is None else f"@{quantity.k}"
    if quantity.radius is not None:
        at = f"@{radius_text(quantity.radius)}"
    return "/".join([f"{base}{at}", *filter(None, (quantity.attack, quantity.evaluator, quantity.part))])


def radius_text(radius: float) -> str:
    """Return a radius as names hold it: in units of 1/255 with up to four digits.

    >>> radius_text(0.25 / 255)
    '0.25'
    """
    return f"{radius * 255:.4g}"
