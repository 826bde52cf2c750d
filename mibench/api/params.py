"""Parameters of components: one dataclass is what the command line, YAML, ``mibench show`` and cache keys read."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError

from mibench.api.deprecated import module_getattr
from mibench.api.errors import UsageError, suggestion
from mibench.api.plain import Problem, brief, misread, unfit

T = TypeVar("T")
M = TypeVar("M")


class OmitIfDefault:
    """Marks a parameter that is younger than published records: ``Annotated[int, Ge(1), OmitIfDefault()]``.

    While it has its default it is left out of keys and records, so that older ones stay as they are. Its default must
    therefore mean what the component did before.
    """


class InferenceOnly(OmitIfDefault):
    """Marks a parameter of a prior that acts when the trained prior attacks and not while it is trained.

    It belongs to the keys of attacks, not to that of the prior, which is not trained again when it changes.
    """


class InputFile:
    """Marks a text parameter that names a file or folder: ``weights: Annotated[str, InputFile()] = ""``.

    Numbers follow its bytes and not its name, so keys and records hold the sha256 of what it names when the run is
    planned, and the component is built with the path.

    Args:
        none: values that name no file; the empty text never does.
    """

    def __init__(self, *none: str) -> None:
        self.none = ("", *none)


class Parameter(NamedTuple):
    """One parameter as ``mibench show`` prints it."""

    name: str
    type: str
    default: Any
    range: str
    doc: str


def presets_of(component: type) -> Mapping[str, Mapping[str, Any]]:
    """Return the named parameter sets of a component class (its class attribute ``presets``)."""
    found: Mapping[str, Mapping[str, Any]] = getattr(component, "presets", {})
    return found


def build(component: type[T], settings: Mapping[str, Any], *, owner: str = "") -> T:
    """Make a component from plain settings, validated against its dataclass.

    Args:
        component: a frozen dataclass whose fields may be ``Annotated`` with ``annotated_types`` constraints.
        settings: field name to value; numbers may be strings from a command line and are converted. A boolean is no
            number, a number no boolean, and a fraction no whole number.
        owner: how errors name the component, e.g. ``"defense 'atat'"``.

    Raises:
        UsageError: for an unknown key (with a suggestion) or a value of the wrong type or range.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Blur:
    ...     radius: typing.Annotated[int, annotated_types.Ge(0)] = 2
    >>> build(Blur, {"radius": "3"})
    Blur(radius=3)
    >>> build(Blur, {"radius": -1})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    mibench.api.errors.UsageError: Blur: radius = -1 is not valid; expected int >= 0 (...).
    """
    owner = owner or component.__name__
    if not dataclasses.is_dataclass(component):
        raise UsageError(f"{owner}: {component.__name__} is no dataclass; see how components are written in the docs")
    known = {field.name for field in dataclasses.fields(component) if field.init}
    for key in settings:
        if key not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(f"{owner} has no parameter {key!r}.{suggestion(key, known)} Its parameters: {listed}.")
    _refuse(owner, component, unfit(settings))
    try:
        made: T = _adapter(component).validate_python(dict(settings))
    except ValidationError as error:
        raise UsageError(_explain(owner, component, error)) from None
    _refuse(owner, component, misread(settings, made))
    return made


def canonical(component: Any) -> dict[str, Any]:
    """Return a component's parameters as plain JSON values, for records and cache keys (see :class:`OmitIfDefault`).

    >>> @dataclasses.dataclass(frozen=True)
    ... class Blur:
    ...     radius: int = 2
    ...     edge: typing.Annotated[str, OmitIfDefault()] = "reflect"
    >>> canonical(Blur()), canonical(Blur(edge="zero"))
    ({'radius': 2}, {'radius': 2, 'edge': 'zero'})
    """
    dumped: dict[str, Any] = _adapter(type(component)).dump_python(component, mode="json")
    hints = _hints(type(component))
    for field in dataclasses.fields(component):
        if _marks(hints[field.name], OmitIfDefault) and getattr(component, field.name) == _default(field):
            del dumped[field.name]
    return dumped


def inference_only_names(component: type) -> list[str]:
    """Return the parameters that are marked :class:`InferenceOnly`."""
    return [name for name, hint in _hints(component).items() if _marks(hint, InferenceOnly)]


def file_parameters(component: type) -> dict[str, tuple[str, ...]]:
    """Return the parameters that are marked :class:`InputFile`, each with the values that name no file."""
    return {name: marks[0].none for name, hint in _hints(component).items() if (marks := _marks(hint, InputFile))}


def describe(component: type) -> list[Parameter]:
    """List the parameters of a component class with type, default, range and documentation."""
    hints = _hints(component)
    docs = _field_docs(component)
    rows = []
    for field in dataclasses.fields(component):
        base, metadata = _split(hints[field.name])
        rows.append(
            Parameter(field.name, _type_name(base), _default(field), _range(metadata), docs.get(field.name, ""))
        )
    return rows


# A matrix asks for the same classes thousands of times, at a few milliseconds each.
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)
_hints: Callable[[Any], Mapping[str, Any]] = functools.cache(
    functools.partial(typing.get_type_hints, include_extras=True)
)


def _explain(owner: str, component: type, error: ValidationError) -> str:
    lines = []
    for found in error.errors():
        if not found["loc"]:  # raised by the component itself, about several parameters together
            lines.append(f"{owner}: {found['msg']}.")
            continue
        path = tuple(str(part) for part in found["loc"])
        lines.append(_line(owner, component, Problem(path, found["input"], found["msg"])))
    return "\n".join(lines)


def _refuse(owner: str, component: type, problems: Iterable[Problem]) -> None:
    if lines := [_line(owner, component, problem) for problem in problems]:
        raise UsageError("\n".join(lines))


def _line(owner: str, component: type, problem: Problem) -> str:
    row = {row.name: row for row in describe(component)}.get(problem.path[0])
    expected = f"{row.type} {row.range}".strip() if row else ""
    name, value = ".".join(problem.path), brief(problem.given)
    return f"{owner}: {name} = {value} is not valid; expected {expected} ({problem.reason})."


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(hint) is typing.Annotated:
        base, *metadata = typing.get_args(hint)
        return base, tuple(metadata)
    return hint, ()


def _marks(hint: Any, kind: type[M]) -> list[M]:
    return [entry for entry in _split(hint)[1] if isinstance(entry, kind)]


def _type_name(base: Any) -> str:
    if typing.get_origin(base) is typing.Literal:
        return " | ".join(repr(choice) for choice in typing.get_args(base))
    return base.__name__ if isinstance(base, type) and not typing.get_args(base) else str(base).replace("typing.", "")


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return "(required)"


def _range(metadata: tuple[Any, ...]) -> str:
    signs: dict[type, tuple[str, str]] = {
        annotated_types.Ge: (">=", "ge"),
        annotated_types.Gt: (">", "gt"),
        annotated_types.Le: ("<=", "le"),
        annotated_types.Lt: ("<", "lt"),
    }
    parts = []
    for entry in metadata:
        items = entry if isinstance(entry, annotated_types.GroupedMetadata) else [entry]
        for item in items:
            if type(item) in signs:
                sign, attribute = signs[type(item)]
                parts.append(f"{sign} {getattr(item, attribute)}")
    return ", ".join(parts)


def _field_docs(component: type) -> dict[str, str]:
    """Read ``Attributes:`` lines of a Google-style docstring, of the class and its bases."""
    docs: dict[str, str] = {}
    for cls in reversed(component.__mro__):
        inside = False
        for raw in (cls.__doc__ or "").splitlines():
            line = raw.strip()
            if line in {"Attributes:", "Args:"}:
                inside = True
            elif inside and ": " in line:
                name, text = line.split(": ", 1)
                if name.isidentifier():
                    docs[name] = text
                    last = name
                else:
                    docs[last] = f"{docs[last]} {line}" if docs else line
            elif inside and line and docs:
                docs[last] = f"{docs[last]} {line}"
            elif inside and not line:
                inside = False
    return docs


STRICT = ConfigDict(extra="forbid", frozen=True)
"""Configuration of all pydantic models of the project: unknown keys are errors, instances do not change."""

if not typing.TYPE_CHECKING:
    __getattr__ = module_getattr(__name__, globals())
