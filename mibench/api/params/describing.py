"""Parameters as people read them: types, ranges, defaults and what they mean."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import annotated_types

from mibench.api.params.layout import MISSING, Leaf, layout_of, leaves_of, split

_SIGNS: dict[type, tuple[str, str]] = {
    annotated_types.Ge: (">=", "ge"),
    annotated_types.Gt: (">", "gt"),
    annotated_types.Le: ("<=", "le"),
    annotated_types.Lt: ("<", "lt"),
}


class Parameter(NamedTuple):
    """One parameter as ``mibench show`` prints it.

    Attributes:
        name: with dots, if it stands in a group.
        type: as it is written.
        default: the component's.
        range: of its values.
        doc: what it means.
        key: its name in keys, records and commands.
    """

    name: str
    type: str
    default: Any
    range: str
    doc: str
    key: str


def describe(component: type) -> list[Parameter]:
    """List the parameters of a component class with type, default, range and documentation."""
    docs: dict[type, dict[str, str]] = {}
    rows = []
    for leaf in leaves_of(component):
        known = docs.setdefault(leaf.owner, docs_of(leaf.owner))
        default = "(required)" if leaf.default is MISSING else leaf.default
        rows.append(
            Parameter(leaf.name, type_of(leaf), default, range_of(leaf), known.get(leaf.path[-1], ""), leaf.key)
        )
    return rows


def docs_of_groups(component: type) -> dict[str, str]:
    """Return what each group of a component class is for, by its dotted name: its line in the class it stands in.

    Where there is none, the first line of the group's own class.
    """
    groups = layout_of(component).groups
    found = {}
    for path, (cls, _) in groups.items():
        around = groups[path[:-1]][0] if path[1:] else component
        own = (cls.__doc__ or "").partition("\n")[0]
        found[".".join(path)] = docs_of(around).get(path[-1]) or own
    return found


def type_of(leaf: Leaf) -> str:
    """Return the type of a parameter as people write it, without its range."""
    return _type(leaf.base)


def range_of(leaf: Leaf) -> str:
    """Return the range of a parameter's values, or of each of several; empty if there is none."""
    return _range(leaf.base, leaf.metadata)


def _type(hint: Any) -> str:
    base, _ = split(hint)
    origin, inner = typing.get_origin(base), typing.get_args(base)
    if origin is typing.Literal:
        return " | ".join(repr(choice) for choice in inner)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(part) for part in inner)
    if base is type(None):
        return "None"
    if isinstance(origin, type) and not any(isinstance(part, list) for part in inner):
        return f"{origin.__name__}[{', '.join('...' if part is ... else _type(part) for part in inner)}]"
    return base.__name__ if isinstance(base, type) else str(base).replace("typing.", "")


def _range(hint: Any, metadata: tuple[Any, ...]) -> str:
    base, own = split(hint)
    parts = [*_bounds((*own, *metadata))]
    inner = [_range(part, ()) for part in typing.get_args(base) if part is not ...]
    among = typing.get_origin(base) in (typing.Union, types.UnionType)
    parts += [found if among else f"each {found}" for found in dict.fromkeys(inner) if found]
    return ", ".join(parts)


def _bounds(metadata: tuple[Any, ...]) -> Iterator[str]:
    for entry in metadata:
        for item in entry if isinstance(entry, annotated_types.GroupedMetadata) else [entry]:
            if type(item) in _SIGNS:
                sign, attribute = _SIGNS[type(item)]
                yield f"{sign} {getattr(item, attribute)}"


def docs_of(cls: type) -> dict[str, str]:
    """Read ``Attributes:`` lines of a Google-style docstring, of the class and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        inside = False
        for raw in (base.__doc__ or "").splitlines():
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
