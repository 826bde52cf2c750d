"""What a user asks of a study: the parsed command line, or the arguments of :func:`mibench.run_study`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mibench.api import params
from mibench.api.study import Study
from mibench.registry.registry import Registry

DEFAULT_PROTOCOL = "faces64"
"""The protocol with most people, whose attacks are strong."""
FOLDER = Path("mibench-studies")


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """A study and how to run it.

    Attributes:
        name: of the study.
        protocol: name, ``name@version`` or YAML file.
        model: architecture of the targets; empty for the protocol's.
        attacks: empty for the protocol's suite.
        seeds: target seeds of arms that name none; empty for the protocol's.
        settings: parameters of the study.
        variant: ``"test"`` or ``"validation"``; ``None`` for the study's own.
        device: as of a run.
        executor: as of a run.
        workers: as of a run.
        store: folder of artifacts; ``None`` for the user's cache.
        shipped: take ready-made priors and evaluators.
        output: folder of design, records and page; ``None`` for ``mibench-studies/<name>-<protocol>``. The same folder
            continues the same study.
        records: folders of records to analyse instead of running anything.
    """

    name: str
    protocol: str = DEFAULT_PROTOCOL
    model: str = ""
    attacks: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    variant: Literal["test", "validation"] | None = None
    device: str = "auto"
    executor: str = "inline"
    workers: int = 2
    store: Path | None = None
    shipped: bool = True
    output: Path | None = None
    records: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Take lists for tuples, and text for paths."""
        for name in ("attacks", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "records", tuple(map(Path, self.records)))
        for name in ("store", "output"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)).expanduser())

    def folder(self, protocol_id: str) -> Path:
        """Return where the study is written."""
        return self.output or FOLDER / f"{self.name}-{protocol_id}"


def build_study(request: StudyRequest, registry: Registry) -> Study:
    """Return the study of a request.

    Raises:
        UsageError: for an unknown study or parameter.
        TypeError: if the component is none.
    """
    made = params.build(
        registry.component("study", request.name), dict(request.settings), owner=f"study {request.name!r}"
    )
    if not isinstance(made, Study):
        raise TypeError(f"{request.name!r} is not a Study")
    return made
