"""Marks on the fields of a stage's inputs: which field is a component, and which a reference to another node."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from mibench.registry.entry import Entry


@dataclass(frozen=True)
class Ref:
    """A reference to another node.

    Attributes:
        key: its key.
        stages: the stages that can have made it; one, unless a payload that was read back leaves it open.
    """

    key: str
    stages: tuple[str, ...] = field(compare=False)

    @property
    def stage(self) -> str:
        """The stage that makes it, as far as it is known: the first of those that can."""
        return self.stages[0]


class MadeBy:
    """Marks a reference, or references by name: ``private: Annotated[Ref, MadeBy("data")]``.

    Args:
        stages: what can make the artifact that is referred to.
        told: whether the payload states, under the field's name, which of the stages it was.
    """

    def __init__(self, *stages: str, told: bool = False) -> None:
        self.stages, self.told = stages, told


class Named:
    """Marks a field that has another name in payloads, those that were written before it had a better one."""

    def __init__(self, name: str) -> None:
        self.name = name


class Of:
    """Marks a component by its kind, where the field's name is another."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


DatasetEntry = Annotated[Entry, Of("dataset")]
ModelEntry = Annotated[Entry, Of("model")]
PriorEntry = Annotated[Entry, Of("prior")]
DefenseEntry = Annotated[Entry, Of("defense")]
AttackEntry = Annotated[Entry, Of("attack")]
MetricEntry = Annotated[Entry, Of("metric")]
DataRef = Annotated[Ref, MadeBy("data")]
TargetRef = Annotated[Ref, MadeBy("target")]
PriorRef = Annotated[Ref, MadeBy("prior")]
EvaluatorRefs = Annotated[Mapping[str, Ref], MadeBy("evaluator")]


@dataclass(frozen=True)
class Field:
    """A field of a stage's inputs.

    Attributes:
        name: in Python.
        key: in payloads.
        made_by: of a reference.
        several: whether it holds references by name.
        kind: of a component.
        required: whether it always has a value.
    """

    name: str
    key: str
    made_by: MadeBy | None
    several: bool
    kind: str
    required: bool

    def role(self, name: str = "") -> str:
        """Return the role under which ``needs`` has a reference; one of several is ``stage:name``."""
        return f"{self.made_by.stages[0]}:{name}" if self.several and self.made_by else self.key


def fields_of(inputs: type) -> tuple[Field, ...]:
    """Return the fields of a class of inputs, in order."""
    return _fields(inputs)


def _look(inputs: Any) -> tuple[Field, ...]:
    hints = typing.get_type_hints(inputs, include_extras=True)
    return tuple(_field(one, hints[one.name]) for one in dataclasses.fields(inputs))


_fields: Callable[[Any], tuple[Field, ...]] = functools.cache(_look)


def _field(field: dataclasses.Field[Any], hint: Any) -> Field:
    marks = list(_metadata(hint))
    named = next((mark.name for mark in marks if isinstance(mark, Named)), field.name)
    made_by = next((mark for mark in marks if isinstance(mark, MadeBy)), None)
    kind = next((mark.kind for mark in marks if isinstance(mark, Of)), "")
    without = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return Field(field.name, named, made_by, made_by is not None and _is_mapping(hint), kind, without)


def _metadata(hint: Any) -> typing.Iterator[Any]:
    """Yield the marks of an annotation, those inside ``... | None`` included."""
    if typing.get_origin(hint) is Annotated:
        inner, *marks = typing.get_args(hint)
        yield from marks
        yield from _metadata(inner)
    else:
        for inner in typing.get_args(hint):
            yield from _metadata(inner)


def _is_mapping(hint: Any) -> bool:
    inner = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    return typing.get_origin(inner) is Mapping
