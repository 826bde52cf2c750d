"""Stage ``data``: pictures of some identities, read once at the protocol's size, and what else is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

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
        portraits: which of the dataset's portraits, one of each identity; ``None`` for all their images.
        truth: whether to keep what else is known of them; ``None`` for no.
    """

    stage: ClassVar = "data"
    run: ClassVar = "mibench.stages.data:run"
    runs: ClassVar = "dataset"
    light_seconds: ClassVar = 5.0

    dataset: DatasetEntry
    identities: list[int]
    image: ImageShape
    portraits: Literal[0, 1] | None = None
    truth: Literal[True] | None = None


@dataclass(frozen=True)
class StoredImages(Generic[T]):
    """What a data artifact holds. Shapes: N images, C channels, H = W pixels, K identities, D numbers.

    Attributes:
        classes: number of classes, a scalar.
        pixels: uint8 (N, C, H, W); ``None`` if they are too many for memory and lie in a file of their own.
        labels: class of each (N,).
        truth: what else is known of the identities, float32 (K, D); ``None`` if nothing is, or it was not asked for.
        parts: what each is for (N,), an index of ``mibench.api.PARTS``; ``None`` if the dataset does not say.
    """

    classes: T
    pixels: T | None = None
    labels: T | None = None
    truth: T | None = None
    parts: T | None = None

    def tensors(self) -> dict[str, T]:
        """Return what the file holds."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}


class DataFiles(Files):
    """The files of a data artifact."""

    @property
    def images(self) -> Path:
        """The images."""
        return self.folder / "images.safetensors"

    @property
    def pixels(self) -> Path:
        """Pixels of images that are too many for memory: safetensors, ``pixels`` uint8 (N, C, H, W)."""
        return self.folder / "pixels.safetensors"

    def read_images(self, load: Load[T]) -> StoredImages[T]:
        """Return the images."""
        found = load(self.images)
        return StoredImages(**found)

    def unit(self) -> str:
        """Return the unit of what else is known, where something is."""
        return str(self.read_json("truth.json")["unit"])

    def write_unit(self, unit: str) -> None:
        """Write it."""
        self.write_json("truth.json", {"unit": unit})
