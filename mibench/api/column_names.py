"""What the name of a column says, for records that state names alone. Nothing else in the core reads names.

``base@k/evaluator`` is a share of hits among ``k`` guesses. A few bases were in use before measurements stated their
role; published records are found by these names, so they are frozen here, and no new one is added: a metric states
what it measures as fields of its measurements and columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mibench.api.quantity import Quantity, Role, radius_text


@dataclass(frozen=True)
class _Frozen:
    """A base that was in use before columns stated roles.

    Attributes:
        role: what it means.
        at: what stands behind ``@``, or last in the name.
        tail: what stands behind the slash.
    """

    role: Role = ""
    at: Literal["k", "radius"] = "k"
    tail: Literal["evaluator", "part", "attack"] = "evaluator"


_FROZEN = {
    "accuracy": _Frozen("accuracy", tail="part"),
    "attack_acc": _Frozen("attack_accuracy"),
    "reid": _Frozen("re_identification"),
    "robust_acc": _Frozen("robust_accuracy", at="radius", tail="attack"),
    "robust_acc_alone": _Frozen("robust_accuracy", at="radius", tail="attack"),
    "loss_rise": _Frozen(at="radius", tail="attack"),
    "attack_conf": _Frozen(),
    "attack_conf_correct": _Frozen(),
}
_TOP_K = re.compile(r"(?P<base>[^@]+)@(?P<k>\d{1,6})(?:/(?P<tail>.*))?", re.DOTALL)
_NUMBER = r"(?P<over>\d{1,6}(?:\.\d{1,12})?(?:e-?\d{1,2})?)"
_AT_RADIUS = re.compile(rf"(?P<base>[^@/]+)@(?:eps=)?{_NUMBER}(?:/(?P<under>\d{{1,6}}))?")
_ENDS_WITH_RADIUS = re.compile(rf"(?P<base>[^@/]+)/(?:(?P<attack>[^@/]+)/)?{_NUMBER}")
_TAIL = re.compile(r"(?P<base>[^@/]+)(?:/(?P<tail>.*))?", re.DOTALL)


@lru_cache(maxsize=4096)  # a board asks for the same few names thousands of times
def read_name(name: str) -> Quantity:
    """Return what a column's name says. A name that follows no convention is its own base, and says no more.

    >>> read_name("attack_acc@5/resnet")
    Quantity(role='attack_accuracy', base='attack_acc', k=5, evaluator='resnet', attack='', part='', radius=None)
    >>> read_name("sharpness")
    Quantity(role='', base='sharpness', k=None, evaluator='', attack='', part='', radius=None)
    """
    if (found := _AT_RADIUS.fullmatch(name)) and _measures_radii(found["base"]):
        radius = float(found["over"]) / (int(found["under"] or 255) or 255)
        return Quantity(role=_FROZEN[found["base"]].role, base=found["base"], radius=radius)
    if (found := _ENDS_WITH_RADIUS.fullmatch(name)) and _measures_radii(found["base"]):
        radius, attack = float(found["over"]) / 255, found["attack"] or ""
        return Quantity(role=_FROZEN[found["base"]].role, base=found["base"], attack=attack, radius=radius)
    if (found := _TOP_K.fullmatch(name)) and not _measures_radii(found["base"]):
        return _with_tail(found["base"], int(found["k"]), found["tail"] or "")
    if (found := _TAIL.fullmatch(name)) and found["base"] in _FROZEN and not _measures_radii(found["base"]):
        return _with_tail(found["base"], 1 if name == "accuracy" else None, found["tail"] or "")
    return Quantity(base=name)


def beyond_name(name: str, quantity: Quantity) -> Quantity | None:
    """Return a quantity if its column's name does not say as much (a radius to four digits); ``None`` if it does."""
    said, meant = read_name(name), quantity.named()
    if said == meant:
        return None
    radii = (said.radius, meant.radius)
    rounded = None not in radii and len({radius_text(radius) for radius in radii if radius is not None}) == 1
    return None if rounded and _without_radius(said) == _without_radius(meant) else meant


def _measures_radii(base: str) -> bool:
    return base in _FROZEN and _FROZEN[base].at == "radius"


def _with_tail(base: str, k: int | None, tail: str) -> Quantity:
    known = _FROZEN.get(base, _Frozen())
    evaluator, part, attack = (tail if known.tail == meaning else "" for meaning in ("evaluator", "part", "attack"))
    return Quantity(role=known.role, base=base, k=k, evaluator=evaluator, part=part, attack=attack)


def _without_radius(quantity: Quantity) -> dict[str, object]:
    return {name: value for name, value in quantity.stated().items() if name != "radius"}
