"""Where a component's parameters stand: those of groups are found through the groups' classes."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mibench.api.errors import PluginError
from mibench.api.params.marks import FlatNames, InferenceOnly, InputFile, OmitIfDefault
from mibench.api.params.names import Names

M = TypeVar("M")
MISSING: Any = dataclasses.MISSING
"""Default of a parameter that must be given."""
INFERENCE = "inference"
"""A component's group of this name needs no mark to be :class:`InferenceOnly`."""


@dataclass(frozen=True)
class Leaf:
    """One parameter.

    Attributes:
        path: names of the groups that it stands in, and its own.
        key: its name in keys and records.
        base: its type, without ``Annotated``.
        metadata: of ``Annotated``, that of the groups that it stands in included.
        default: the component's; ``MISSING`` if it must be given.
        owner: the class whose field it is.
        settable: whether it may be given at all.
    """

    path: tuple[str, ...]
    key: str
    base: Any
    metadata: tuple[Any, ...]
    default: Any
    owner: type
    settable: bool

    @property
    def name(self) -> str:
        """Name with dots."""
        return ".".join(self.path)

    def marks(self, kind: type[M]) -> list[M]:
        """Return its marks of a kind."""
        return [entry for entry in self.metadata if isinstance(entry, kind)]


@dataclass(frozen=True)
class Layout:
    """All parameters of a component class.

    Attributes:
        leaves: in order of definition.
        groups: class and default of each group by its path; ``MISSING`` if the component has no default for it.
    """

    leaves: tuple[Leaf, ...]
    groups: Mapping[tuple[str, ...], tuple[type, Any]]

    @functools.cached_property
    def names(self) -> Names:
        """What they are called."""
        flat = {leaf.name: leaf.key for leaf in self.leaves if leaf.key != leaf.name}
        return Names(frozenset(".".join(path) for path in self.groups), flat)

    def at(self, path: tuple[str, ...]) -> Leaf | None:
        """Return the parameter that a path leads to or through."""
        return next((leaf for leaf in self.leaves if leaf.path == path[: len(leaf.path)]), None)


def split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without ``Annotated``, and the metadata."""
    if typing.get_origin(hint) is typing.Annotated:
        base, *metadata = typing.get_args(hint)
        return base, tuple(metadata)
    return hint, ()


def names_of(component: type) -> Names:
    """Return what the parameters of a component class are called."""
    return layout_of(component).names if dataclasses.is_dataclass(component) else Names((), {})


def presets_of(component: type) -> Mapping[str, Mapping[str, Any]]:
    """Return the named parameter sets of a component class (its class attribute ``presets``), as they are written."""
    found: Mapping[str, Mapping[str, Any]] = getattr(component, "presets", {})
    return found


def inference_only_names(component: type) -> list[str]:
    """Return the parameters that are marked :class:`InferenceOnly`, by their names in keys."""
    return [leaf.key for leaf in leaves_of(component) if leaf.marks(InferenceOnly)]


def file_parameters(component: type) -> dict[str, tuple[str, ...]]:
    """Return the parameters that are marked :class:`InputFile`, each with the values that name no file."""
    return {leaf.key: mark.none for leaf in leaves_of(component) for mark in leaf.marks(InputFile)}


def copy_parameters(component: type) -> dict[str, str]:
    """Return the parameters that stand for a prepared copy of a dataset, each with the name of the dataset."""
    found = ((leaf.key, mark.copy_of) for leaf in leaves_of(component) for mark in leaf.marks(InputFile))
    return {key: dataset for key, dataset in found if dataset}


def leaves_of(component: type) -> tuple[Leaf, ...]:
    """Return the parameters of a component class; none if it is no dataclass."""
    return layout_of(component).leaves if dataclasses.is_dataclass(component) else ()


def _find(component: type) -> Layout:
    found = _Finder(component)
    taken: dict[str, Leaf] = {}
    for leaf in found.leaves:
        other = taken.setdefault(leaf.key, leaf)
        if other is not leaf:
            raise PluginError(
                f"{component.__name__}: {other.name} and {leaf.name} are both called {leaf.key!r}; give one of them"
                " another name in its FlatNames"
            )
    return Layout(tuple(found.leaves), found.groups)


class _Finder:
    """Walks through the fields of a component and of its groups."""

    def __init__(self, component: type) -> None:
        self.leaves: list[Leaf] = []
        self.groups: dict[tuple[str, ...], tuple[type, Any]] = {}
        self._look(component, MISSING, (), (), None)

    def _look(
        self, cls: type, made: Any, path: tuple[str, ...], above: tuple[OmitIfDefault, ...], flat: FlatNames | None
    ) -> None:
        """Note the parameters of a class; ``made`` is the default instance, ``above`` are the marks around it."""
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            base, metadata = split(hints[field.name])
            here, default = (*path, field.name), _default(field) if made is MISSING else getattr(made, field.name)
            if isinstance(base, type) and dataclasses.is_dataclass(base):
                self._enter(base, default, here, (*metadata, *above), flat)
            else:
                inner = ".".join(here[1:])
                key = flat.names.get(inner, field.name) if flat else ".".join(here)
                self.leaves.append(Leaf(here, key, base, (*metadata, *above), default, cls, field.init))

    def _enter(
        self, cls: type, default: Any, path: tuple[str, ...], metadata: tuple[Any, ...], flat: FlatNames | None
    ) -> None:
        self.groups[path] = (cls, default)
        own = next((mark for mark in metadata if isinstance(mark, FlatNames)), None)
        if own and len(path) > 1:
            raise PluginError(f"{cls.__name__}, {'.'.join(path)}: only a component names flat, not a group in it")
        inference = (InferenceOnly(),) if path == (INFERENCE,) else ()
        above = tuple(mark for mark in metadata if isinstance(mark, OmitIfDefault))
        before = len(self.leaves)
        self._look(cls, default, path, (*above, *inference), flat or own)
        unused = set(own.names if own else ()) - {".".join(leaf.path[1:]) for leaf in self.leaves[before:]}
        if unused:
            raise PluginError(f"{path[0]}: FlatNames names {', '.join(sorted(unused))}, which {cls.__name__} has not")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


# A matrix asks for the same classes thousands of times, at a few milliseconds each.
layout_of: Callable[[Any], Layout] = functools.cache(_find)
"""Return the layout of a component class."""
