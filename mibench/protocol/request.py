"""What a user asks for: the parsed command line, matrix file or call of :func:`mibench.run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from mibench.api.folders import named_folder
from mibench.api.params import STRICT

DEFAULT_PROTOCOL = "orl64"


class Request(BaseModel):
    """A matrix of cells and how to run it.

    Attributes:
        protocols: names or ``name@version``; empty for the default, or for those of ``datasets``.
        datasets: restrict to protocols on these datasets.
        models: target architectures; empty for the protocol's.
        defenses: names, optionally ``name/preset``.
        attacks: names, optionally ``name/preset``.
        seeds: target seeds; empty for the protocol's first.
        settings: ``"defense.lam"`` or ``"atat.lam"`` to value.
        variant: ``"test"`` reports; ``"validation"`` is for choosing parameters and is never published.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        executor: registered executor.
        workers: worker processes of executors that have them.
        store: folder of artifacts; ``None`` for the user's cache.
        shipped: take ready-made priors and evaluators from plugins; ``False`` makes everything anew.
        output: folder for records and the report; ``None`` for ``mibench-runs/<time>``.
        publish: add the records to this leaderboards folder.
    """

    model_config = STRICT

    protocols: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    defenses: tuple[str, ...] = ("none",)
    attacks: tuple[str, ...] = ("ppa",)
    seeds: tuple[Annotated[int, Ge(0)], ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    variant: Literal["test", "validation"] = "test"
    device: str = "auto"
    executor: str = "inline"
    workers: Annotated[int, Ge(1)] = 2
    store: Path | None = None
    shipped: bool = True
    output: Path | None = None
    publish: Path | None = None

    @field_validator("store", "output", "publish", mode="before")
    @classmethod
    def _named(cls, value: Any, info: ValidationInfo) -> Any:
        """Expand ``~`` and refuse an empty name, which would be the current folder. Raises ``UsageError``."""
        return named_folder(value, f"--{info.field_name}") if isinstance(value, str | Path) else value
