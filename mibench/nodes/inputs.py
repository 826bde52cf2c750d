"""The base of every stage's inputs: typed in Python, plain JSON in payloads, and the same both ways.

What can change a stage's numbers is a field of its inputs. A field that is unset (``None``) is left out of the payload,
so that a new one changes no key of what was made before it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mibench.api.errors import MibenchError
from mibench.nodes.marks import Field, Ref, fields_of
from mibench.registry.entry import Entry

KEY_VERSION = 1
"""Raise it when the meaning of a payload changes; all keys change with it."""
HEAD = ("key_version", "stage", "needs")
"""What every payload holds beside a stage's own fields."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a stage is given, and what is known of the stage itself.

    Attributes:
        stage: its name, in keys and in the store.
        run: import string ``"module:function"`` of what does the work.
        runs: field of the component that the stage is there to run; empty if there is none.
        light_seconds: seconds that it usually takes, whatever the protocol; ``None`` where that says nothing.
        timed_as: name in a protocol's ``expected_seconds``; that of the stage by default.
        timed_by_component: whether those figures hold for the component that it ``runs``, as ``"stage/name"``.
        timed_for: fields that must be what the protocol has under the same name for its figure to hold.
    """

    stage: ClassVar[str] = ""
    run: ClassVar[str] = ""
    runs: ClassVar[str] = ""
    light_seconds: ClassVar[float | None] = None
    timed_as: ClassVar[str] = ""
    timed_by_component: ClassVar[bool] = False
    timed_for: ClassVar[tuple[str, ...]] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __init_subclass__(cls) -> None:
        if cls.stage and "stage" in vars(cls):
            known = KNOWN.setdefault(cls.stage, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"the stage {cls.stage!r} is both {known.__qualname__} and {cls.__qualname__}")
            cls.timed_as = vars(cls).get("timed_as") or cls.stage

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            for ref in _refs(self, field).values():
                if field.made_by and not set(ref.stages) <= set(field.made_by.stages):
                    wanted = " or ".join(field.made_by.stages)
                    raise ValueError(f"{self.stage}: {field.name} refers to {ref.stage}; expected {wanted}")

    def refs(self) -> dict[str, Ref]:
        """Return what the stage needs, by role."""
        found = [one for field in fields_of(type(self)) for one in _refs(self, field).items()]
        return dict(sorted(found))

    def components(self) -> dict[str, tuple[str, Entry]]:
        """Return kind and entry of each component, by its field."""
        fields = [field for field in fields_of(type(self)) if field.kind]
        found = {field.name: (field.kind, getattr(self, field.name)) for field in fields}
        return {name: (kind, entry) for name, (kind, entry) in found.items() if entry is not None}

    def in_charge(self) -> tuple[str, Entry] | None:
        """Return kind and entry of the component that the stage is there to run, if there is one."""
        return self.components()[self.runs] if self.runs else None

    def payload(self) -> dict[str, Any]:
        """Return everything that can change the stage's numbers, as plain JSON."""
        fields = fields_of(type(self))
        refs = {field.name for field in fields if field.made_by}
        values = _adapter(type(self)).dump_python(self, mode="json", exclude=refs)
        named = {field.key: values[field.name] for field in fields if values.get(field.name) is not None}
        told = {field.key: ref.stage for field in fields if _told(field) for ref in _refs(self, field).values()}
        needs = {role: ref.key for role, ref in self.refs().items()}
        return {"key_version": KEY_VERSION, "stage": self.stage, "needs": needs, **named, **told}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Return the inputs that a payload states.

        Raises:
            MibenchError: if it is the payload of another stage, or not one that this version writes.
        """
        if payload.get("stage") != cls.stage or payload.get("key_version") != KEY_VERSION:
            stated = f"stage {payload.get('stage')!r}, key version {payload.get('key_version')}"
            raise MibenchError(f"expected the inputs of stage {cls.stage!r}, key version {KEY_VERSION}, got {stated}")
        left = {name: value for name, value in payload.items() if name not in HEAD}
        needs = dict(payload["needs"])
        values: dict[str, Any] = {}
        for field in fields_of(cls):
            if field.made_by:
                values |= _take(field, needs, left)
            elif field.key in left:
                values[field.name] = left.pop(field.key)
        if needs or left:
            raise MibenchError(f"the inputs of stage {cls.stage!r} hold {', '.join([*needs, *left])}, which it has not")
        try:
            made: Self = _adapter(cls).validate_python(values)
        except ValidationError as error:
            wrong = "; ".join(_problem(one["loc"], one["msg"]) for one in error.errors())
            raise MibenchError(f"the inputs of stage {cls.stage!r} cannot be read: {wrong}") from None
        return made


KNOWN: dict[str, type[Inputs]] = {}
"""The stages whose modules have been imported; :mod:`mibench.nodes.table` imports them all."""


def _refs(inputs: Inputs, field: Field) -> dict[str, Ref]:
    value = getattr(inputs, field.name) if field.made_by else None
    if isinstance(value, Mapping):
        return {field.role(name): ref for name, ref in value.items()}
    return {} if value is None else {field.role(): value}


def _told(field: Field) -> bool:
    return field.made_by is not None and field.made_by.told


def _take(field: Field, needs: dict[str, str], left: dict[str, Any]) -> dict[str, Any]:
    """Move what belongs to a reference out of a payload; empty if it has none."""
    stages = field.made_by.stages if field.made_by else ()
    if field.several:
        prefix = field.role("")
        names = [role.removeprefix(prefix) for role in needs if role.startswith(prefix)]
        return {field.name: {name: Ref(needs.pop(field.role(name)), stages) for name in names}}
    if field.role() not in needs:
        return {}
    stages = (left.pop(field.key),) if _told(field) else stages
    return {field.name: Ref(needs.pop(field.role()), stages)}


def _problem(place: tuple[int | str, ...], message: str) -> str:
    """Return ``field: what is wrong``; what is wrong with several fields together has no place."""
    field, told = ".".join(map(str, place)), message.removeprefix("Value error, ")
    return f"{field}: {told}" if field else told


_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)
