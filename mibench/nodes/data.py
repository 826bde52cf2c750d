"""Stage ``data``: the images of some identities, read once at the protocol's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from mibench.nodes.files import Files, Load
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import DatasetEntry
from mibench.protocol.schema import ImageShape

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DataInputs(Inputs):
    """What the stage is given.

    Attributes:
        dataset: where the images come from.
        identities: whose they are; class k is ``identities[k]``.
        image: side and channels.
    """

    stage: ClassVar = "data"
    run: ClassVar = "mibench.stages.data:run"
    runs: ClassVar = "dataset"
    light_seconds: ClassVar = 5.0

    dataset: DatasetEntry
    identities: list[int]
    image: ImageShape


@dataclass(frozen=True)
class StoredImages(Generic[T]):
    """The images of a data artifact. Shapes: N images, C channels, H = W pixels.

    Attributes:
        classes: number of classes, a scalar.
        pixels: uint8 (N, C, H, W); ``None`` if the images are too many for memory and stay with their dataset.
        labels: class of each (N,); ``None`` likewise.
    """

    classes: T
    pixels: T | None = None
    labels: T | None = None

    def tensors(self) -> dict[str, T]:
        """Return what the file holds."""
        found = {"classes": self.classes, "pixels": self.pixels, "labels": self.labels}
        return {name: tensor for name, tensor in found.items() if tensor is not None}


class DataFiles(Files):
    """The file of a data artifact."""

    @property
    def images(self) -> Path:
        """The images."""
        return self.folder / "images.safetensors"

    def read_images(self, load: Load[T]) -> StoredImages[T]:
        """Return the images."""
        found = load(self.images)
        return StoredImages(found["classes"], found.get("pixels"), found.get("labels"))
