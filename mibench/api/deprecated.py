"""Old names of the plugin contract: they work for one version more, and warn.

What was renamed stands in two tables, :data:`CLASSES` and :data:`MEMBERS`, and nowhere else. Delete a row, and the old
name is gone; delete this file with the version :data:`GONE_IN`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import getattr_static
from typing import Any, TypeVar

T = TypeVar("T")

GONE_IN = "0.3"
"""The version of mibench in which the old names stop working."""

CLASSES = {
    "Added": "OmitIfDefault",
    "Carry": "BlockState",
    "Deployed": "InferenceOnly",
    "Evidence": "MetricInputs",
    "Start": "WarmStart",
}
"""Old name of a class of ``mibench.api`` to its new one."""

MEMBERS = {
    "Attack": {"peeks": "uses_evaluator"},
    "AttackContext": {"judge": "evaluator", "remember": "cached"},
    "Prior": {"frame": "crop_and_resize"},
}
"""Class of ``mibench.api`` to its methods and attributes, old name to new name."""


def notice(old: str, new: str) -> str:
    """Return the sentence that warns.

    >>> notice("Added", "OmitIfDefault")
    "'Added' is now called 'OmitIfDefault'; the old name stops working in mibench 0.3."
    """
    return f"{old!r} is now called {new!r}; the old name stops working in mibench {GONE_IN}."


def current_name(old: str) -> str | None:
    """Return the new name of a class and warn whoever asked for the caller; ``None`` for what is no old name."""
    new = CLASSES.get(old)
    if new is not None:
        warnings.warn(notice(f"mibench.api.{old}", f"mibench.api.{new}"), DeprecationWarning, stacklevel=3)
    return new


def module_getattr(module: str, names: dict[str, Any]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` under which old names of the classes that it defines are found.

    Args:
        module: its ``__name__``.
        names: its ``globals()``.
    """

    def __getattr__(name: str) -> Any:
        if CLASSES.get(name) not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return names[str(current_name(name))]

    return __getattr__


class _OldName:
    """An attribute of a class that leads to another one and warns."""

    def __init__(self, owner: type, old: str, new: str) -> None:
        self.owner, self.old, self.new = owner, old, new

    def __get__(self, instance: Any, cls: type | None = None) -> Any:
        if instance is None:  # somebody lists what the class has
            return self
        self._warn()
        override = _last_override(type(instance), self.old, self.new)
        # Below an override of the old method only super() leads here, and must not come back to the override.
        return getattr(super(override, instance) if override else instance, self.new)

    def __set__(self, instance: Any, value: Any) -> None:
        self._warn()
        setattr(instance, self.new, value)

    def _warn(self) -> None:
        owner = self.owner.__name__
        warnings.warn(notice(f"{owner}.{self.old}", f"{owner}.{self.new}"), DeprecationWarning, stacklevel=3)


def with_old_names(cls: type[T]) -> type[T]:
    """Give a class of the contract its old names, as :data:`MEMBERS` lists them (a decorator).

    Reading or setting an old name warns and means the new one. So does overriding an old method in a subclass: whoever
    calls it by the new name gets the override.
    """
    renamed = MEMBERS[cls.__name__]
    for old, new in renamed.items():
        setattr(cls, old, _OldName(cls, old, new))

    def __init_subclass__(subclass: type[T], /, **options: Any) -> None:
        super(cls, subclass).__init_subclass__(**options)  # type: ignore[misc]
        for old, new in renamed.items():
            _honour(subclass, old, new)

    setattr(cls, "__init_subclass__", classmethod(__init_subclass__))  # noqa: B010 - mypy lets nobody assign it
    return cls


def _honour(subclass: type, old: str, new: str) -> None:
    """Let a subclass that overrides an old method, itself or through a class beside, have it under its new name."""
    place = next(place for place in subclass.__mro__ if {old, new} & set(vars(place)))
    if new in vars(place):
        return
    setattr(subclass, new, vars(place)[old])
    code = getattr(vars(place)[old], "__code__", None)
    where = (code.co_filename, code.co_firstlineno) if code else (place.__module__, 1)
    warnings.warn_explicit(notice(f"{place.__name__}.{old}", f"{place.__name__}.{new}"), DeprecationWarning, *where)


def _last_override(cls: type, old: str, new: str) -> type | None:
    """Return the class nearest to the base in which an override of the old method became the new one, or ``None``."""
    overrides = (place for place in reversed(cls.__mro__) if new in vars(place))
    return next((place for place in overrides if vars(place)[new] is getattr_static(place, old, None)), None)
