"""The files of artifacts: their names, and what is in them. Tensors are read by whom the caller chooses.

``T`` is a tensor of the library that reads: torch in stages, numpy where torch stays away.
Shapes: N images, C channels, H = W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Load = Callable[[Path], Mapping[str, T]]
"""Reads a safetensors file."""


@dataclass(frozen=True)
class Files:
    """The files of an artifact, or of one that is being made.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    def read_json(self, name: str) -> Any:
        """Read one of the JSON files."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any, *, indent: int | None = None) -> None:
        """Write one of the JSON files; the same value has the same bytes.

        Raises:
            ValueError: for a number that is not finite.
        """
        text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False)
        (self.folder / name).write_text(text + "\n", encoding="utf-8")


class ReportedFiles(Files):
    """The files of a stage that reports about its work beside what it made."""

    @property
    def weights(self) -> Path:
        """Weights of what was trained, by parameter."""
        return self.folder / "weights.safetensors"

    def report(self) -> dict[str, Any]:
        """Return what the stage said about its work."""
        found: dict[str, Any] = self.read_json("report.json")
        return found

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Write it."""
        self.write_json("report.json", report, indent=1)


@dataclass(frozen=True)
class Evidence(Generic[T]):
    """Images that judges look at, whoever made them.

    Attributes:
        pixels: uint8 (N, C, H, W).
        labels: intended class of each (N,).
        scores: what the attack itself thought of each (N,).
    """

    pixels: T
    labels: T
    scores: T

    def tensors(self) -> dict[str, T]:
        """Return what the file holds."""
        return {"pixels": self.pixels, "labels": self.labels, "scores": self.scores}


class EvidenceFiles(Files):
    """The files of a stage whose artifact is measured as reconstructions are."""

    @property
    def evidence(self) -> Path:
        """The images."""
        return self.folder / "evidence.safetensors"

    def read_evidence(self, load: Load[T]) -> Evidence[T]:
        """Return the images."""
        found = load(self.evidence)
        return Evidence(found["pixels"], found["labels"], found["scores"])
