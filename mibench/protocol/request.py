"""What a user asks for: the parsed command line, matrix file or call of :func:`mibench.run`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Lt
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator
from pydantic import ModelWrapValidatorHandler as Handler

from mibench.api.errors import UsageError, suggestion
from mibench.api.folders import named_folder
from mibench.api.params import STRICT
from mibench.api.plain import brief, check_plain, misread
from mibench.api.specs import SETTABLE

DEFAULT_PROTOCOL = "orl64"
DEFAULT_ATTACK = "ppa"
"""What attacks under protocols without a suite."""
SUITE = "suite"
"""What to type for all attacks of a protocol's suite."""
DEVICE = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]*))?", re.ASCII)
"""Names of devices on which results are made and compared."""


def _named(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("expected a name")
    return name


def _folder(value: Any, info: ValidationInfo) -> Any:
    """Expand ``~`` and refuse what is no folder. Raises ``UsageError``."""
    if not isinstance(value, str | Path):
        return value
    if "\0" in str(value):
        raise ValueError("a path holds no zero byte")
    return named_folder(value, f"--{info.field_name}")


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("nothing is selected; name at least one")
    return names


def no_setting(text: str) -> UsageError:
    """Return the error for what is no setting: without a value, or whose key is not two names with a dot between."""
    kind = text.partition(".")[0]
    close = suggestion(kind, SETTABLE) if "." in text and kind not in SETTABLE else ""
    return UsageError(
        f"--set {brief(text)}: expected KEY=VALUE with a key like defense.lam (KIND.PARAMETER or NAME.PARAMETER), e.g."
        f" defense.lam=0.2.{close}"
    )


def _dotted(settings: dict[str, Any]) -> dict[str, Any]:
    for key in settings:
        if not all(key.rpartition(".")[::2]):
            raise no_setting(key)
    return settings


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name):
        raise ValueError("expected auto, cpu, cuda or cuda:N with a number N from 0")
    return name


Name = Annotated[str, AfterValidator(_named)]
Folder = Annotated[Path, BeforeValidator(_folder)]


class Request(BaseModel):
    """A matrix of cells and how to run it.

    Attributes:
        protocols: names, ``name@version`` or YAML files; empty for the default, or for those of ``datasets``.
        datasets: restrict to protocols on these datasets.
        models: target architectures; empty for the protocol's.
        defenses: names, optionally ``name/preset``.
        attacks: names, optionally ``name/preset``, or ``suite`` for those that the protocol requires; empty for its
            suite, or for the default where it has none.
        seeds: target seeds; empty for the protocol's first.
        settings: ``"defense.lam"`` or ``"atat.lam"`` to value.
        variant: ``"test"`` reports; ``"validation"`` is for choosing parameters and is never published.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        executor: registered executor.
        workers: worker processes of executors that have them.
        store: folder of artifacts; ``None`` for the user's cache. ``~`` is expanded in this and all paths.
        shipped: take ready-made priors and evaluators from plugins; ``False`` makes everything anew.
        output: folder for records and the report; ``None`` for ``mibench-runs/<time>``.
        publish: add the records to this leaderboards folder.

    Raises:
        UsageError: for an unknown field or a value that it cannot have; every wrong one is named.
    """

    model_config = STRICT

    protocols: tuple[Name, ...] = ()
    datasets: tuple[Name, ...] = ()
    models: tuple[Name, ...] = ()
    defenses: Annotated[tuple[Name, ...], AfterValidator(_some)] = ("none",)
    attacks: Annotated[tuple[Name, ...], AfterValidator(_some)] = ()
    seeds: tuple[Annotated[int, Ge(0), Lt(2**63)], ...] = ()
    settings: Annotated[dict[str, Any], AfterValidator(_dotted)] = Field(default_factory=dict)
    variant: Literal["test", "validation"] = "test"
    device: Annotated[str, AfterValidator(_device)] = "auto"
    executor: Name = "inline"
    workers: Annotated[int, Ge(1)] = 2
    store: Folder | None = None
    shipped: bool = True
    output: Folder | None = None
    publish: Folder | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, given: Any, handler: Handler[Self]) -> Self:
        """Turn what pydantic says into the error that callers are promised."""
        try:
            made = handler(given)
        except ValidationError as error:
            problems = [(e["loc"], e["input"], e["msg"].removeprefix("Value error, ")) for e in error.errors()]
            raise _refusal([_problem(*problem) for problem in problems]) from None
        if isinstance(given, dict):
            check_plain(given.get("settings", {}), "settings")
            if wrong := [_problem(*problem) for problem in misread(given, made)]:
                raise _refusal(wrong)
        return made


def _problem(path: tuple[int | str, ...], given: Any, reason: str) -> str:
    place = ".".join(str(part) for part in path)
    return f"{place} = {brief(given)}: {reason}" if place else reason


def _refusal(problems: list[str]) -> UsageError:
    return UsageError(f"The request is not valid: {'; '.join(problems)}")
