"""From settings to a component, validated, and from a component to plain values."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mibench.api.errors import UsageError, suggestion
from mibench.api.params.describing import range_of, type_of
from mibench.api.params.layout import MISSING, Layout, layout_of, names_of
from mibench.api.params.marks import OmitIfDefault
from mibench.api.params.names import Given
from mibench.api.plain import Problem, brief, misread, unfit

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", frozen=True)
"""Configuration of all pydantic models of the project: unknown keys are errors, instances do not change."""


def build(component: type[T], settings: Mapping[str, Any], *, owner: str = "") -> T:
    """Make a component from plain settings, validated against its dataclass.

    Args:
        component: a frozen dataclass whose fields may be ``Annotated`` with ``annotated_types`` constraints, or groups.
        settings: parameter to value; parameters of groups by dotted name, by flat name, or in a mapping. Numbers may be
            strings from a command line and are converted. A boolean is no number, a number no boolean, and a fraction
            no whole number.
        owner: how errors name the component, e.g. ``"defense 'atat'"``.

    Raises:
        UsageError: for an unknown key (with a suggestion), a parameter that is given twice, or a value of the wrong
            type or range.
    """
    owner = owner or component.__name__
    if not dataclasses.is_dataclass(component):
        raise UsageError(f"{owner}: {component.__name__} is no dataclass; see how components are written in the docs")
    layout = layout_of(component)
    given = layout.names.read(settings, owner)
    _refuse_unknown(owner, layout, given)
    explain = _Explanation(owner, layout, given)
    nested = _nested({leaf.path: given[leaf.key].value for leaf in layout.leaves if leaf.key in given})
    explain.refuse(unfit(nested))
    try:
        made: T = _adapter(component).validate_python(_nested(_completed(layout, given)))
    except ValidationError as error:
        raise UsageError(explain.invalid(error)) from None
    except UsageError as error:  # raised by the component, or by a group, which does not know whose it is
        text = str(error)
        raise UsageError(text if text.startswith(owner) else f"{owner}: {text}") from None
    explain.refuse(misread(nested, made))
    return made


def replaced(component: T, settings: Mapping[str, Any], *, owner: str = "") -> T:
    """Return a copy of a component with other values of some parameters, by any of their names; else as :func:`build`.

    Raises:
        UsageError: as :func:`build`.
    """
    changed = names_of(type(component)).flatten(settings, owner or type(component).__name__)
    return build(type(component), {**values_of(component), **changed}, owner=owner)


def values_of(component: Any) -> dict[str, Any]:
    """Return the value of every parameter of a component by its name in keys."""
    leaves = layout_of(type(component)).leaves
    return {leaf.key: functools.reduce(getattr, leaf.path, component) for leaf in leaves if leaf.settable}


def canonical(component: Any) -> dict[str, Any]:
    """Return a component's parameters as plain JSON values by their names in keys, for records and cache keys.

    Those marked :class:`OmitIfDefault` are left out while they have their default.
    """
    dumped = _adapter(type(component)).dump_python(component, mode="json")
    return {
        leaf.key: functools.reduce(lambda values, name: values[name], leaf.path, dumped)
        for leaf in layout_of(type(component)).leaves
        if not (leaf.marks(OmitIfDefault) and functools.reduce(getattr, leaf.path, component) == leaf.default)
    }


# A matrix asks for the same classes thousands of times, at a few milliseconds each.
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


def _completed(layout: Layout, given: Mapping[str, Given]) -> dict[tuple[str, ...], Any]:
    """Return what was given by path, and the component's defaults for the rest of each group that is concerned.

    Left alone, pydantic would take the defaults of the group's class.
    """
    concerned = {leaf.path[0] for leaf in layout.leaves if leaf.key in given}
    concerned |= {path[0] for path, (_, default) in layout.groups.items() if default is MISSING}
    values: dict[tuple[str, ...], Any] = {path: {} for path in layout.groups if path[0] in concerned}
    for leaf in layout.leaves:
        if leaf.key in given:
            values[leaf.path] = given[leaf.key].value
        elif leaf.path[:-1] and leaf.path[0] in concerned and leaf.settable and leaf.default is not MISSING:
            values[leaf.path] = leaf.default
    return values


def _nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for (*groups, name), value in values.items():
        functools.reduce(lambda inner, group: inner.setdefault(group, {}), groups, nested)[name] = value
    return nested


def _refuse_unknown(owner: str, layout: Layout, given: Mapping[str, Given]) -> None:
    settable = [leaf for leaf in layout.leaves if leaf.settable]
    known = {leaf.key for leaf in settable}
    for key, (written, value) in given.items():
        if key in known:
            continue
        if key in layout.names.groups:
            inside = next(leaf.name for leaf in settable if leaf.name.startswith(f"{key}."))
            raise UsageError(
                f"{owner}: {written} = {brief(value)} is not valid; it is a group of parameters, which are given like"
                f" {inside}=... ."
            )
        close = suggestion(written, [*known, *(leaf.name for leaf in settable), *layout.names.groups])
        listed = ", ".join(sorted(leaf.name for leaf in settable)) or "none"
        raise UsageError(f"{owner} has no parameter {written!r}.{close} Its parameters: {listed}.")


class _Explanation:
    """Says what is wrong with settings, by the names that they were given under."""

    def __init__(self, owner: str, layout: Layout, given: Mapping[str, Given]) -> None:
        self.owner, self.layout, self.given = owner, layout, given

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise for problems, if there are any."""
        if lines := [self._line(problem) for problem in problems]:
            raise UsageError("\n".join(lines))

    def invalid(self, error: ValidationError) -> str:
        """Return what pydantic found, a line each."""
        lines = []
        for found in error.errors():
            path = tuple(str(part) for part in found["loc"])
            if not path or path in self.layout.groups:  # raised by component or group, about several parameters
                lines.append(f"{': '.join([self.owner, *path[-1:]])}: {found['msg']}.")
            else:
                lines.append(
                    self._line(Problem(path, found["input"], _reason(found["type"], found["input"], found["msg"])))
                )
        return "\n".join(lines)

    def _line(self, problem: Problem) -> str:
        leaf = self.layout.at(problem.path)
        name, expected = ".".join(problem.path), ""
        if leaf is not None:
            expected = f"{type_of(leaf)} {range_of(leaf)}".strip()
            written = self.given[leaf.key].written if leaf.key in self.given else leaf.name
            name = ".".join([written, *problem.path[len(leaf.path) :]])
        return f"{self.owner}: {name} = {brief(problem.given)} is not valid; expected {expected} ({problem.reason})."


def _reason(kind: str, given: Any, told: str) -> str:
    """Return what pydantic says, or how a list is written if a short text came in its place."""
    if kind != "tuple_type" or not isinstance(given, str) or len(given) > 200:
        return told
    items = [_plain(item.strip(" \"'")) for item in given.strip("()[] ").split(",")]
    return f"a list is written {json.dumps([item for item in items if item != ''])}"


def _plain(item: str) -> Any:
    """Return a finite number, or the text."""
    try:
        number = float(item)
    except ValueError:
        return item
    if not isfinite(number):
        return item
    return int(number) if number.is_integer() else number
