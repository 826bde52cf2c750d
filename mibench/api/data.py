"""Datasets and sets of images.

Shapes: N images, B of a batch, C channels (1 or 3), H = W the protocol's side in pixels, K identities, D numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mibench.api.copies import PARTS as PARTS
from mibench.api.copies import CopiedImage as CopiedImage
from mibench.api.copies import Copy as Copy
from mibench.api.copies import FileNote as FileNote
from mibench.api.errors import UsageError
from mibench.api.images import from_uint8, to_uint8

Told = Callable[[int, int], None]
"""``told(done, total)``: files that were looked at."""


class ImageSet(ABC):
    """Labelled images that are read in batches by index, so that they need not fit into memory.

    Attributes:
        labels_N: int64 class of each image, 0 .. num_classes - 1.
        num_classes: number of classes, also of those without an image here.
    """

    labels_N: Tensor
    num_classes: int

    @abstractmethod
    def images(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices: float32 (B, C, H, W) in [0, 1]."""

    def pixels(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices with 8 bits: uint8 (B, C, H, W)."""
        return to_uint8(self.images(indices_B))

    @abstractmethod
    def subset(self, indices_M: Tensor) -> ImageSet:
        """Return the images at these indices as a set of its own."""

    @abstractmethod
    def relabel(self, labels_N: Tensor) -> ImageSet:
        """Return the same images under other labels (for training-data experiments)."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def all_images(self) -> Tensor:
        """Return every image: float32 (N, C, H, W) in [0, 1]. For sets that are known to be small."""
        return self.images(torch.arange(len(self)))


@dataclass(frozen=True)
class TensorImages(ImageSet):
    """Images held in memory as 8-bit pixels.

    Attributes:
        pixels_NCHW: uint8 images.
        labels_N: int64 classes.
        num_classes: number of classes.
    """

    pixels_NCHW: Tensor
    labels_N: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        if self.pixels_NCHW.dtype != torch.uint8 or self.pixels_NCHW.ndim != 4:
            raise ValueError(
                f"expected uint8 (N, C, H, W), got {self.pixels_NCHW.dtype} {tuple(self.pixels_NCHW.shape)}"
            )
        if len(self.labels_N) != len(self.pixels_NCHW):
            raise ValueError(f"{len(self.pixels_NCHW)} images but {len(self.labels_N)} labels")

    def images(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices: float32 (B, C, H, W) in [0, 1]."""
        return from_uint8(self.pixels(indices_B))

    def pixels(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices with 8 bits: uint8 (B, C, H, W)."""
        return self.pixels_NCHW[indices_B]

    def subset(self, indices_M: Tensor) -> TensorImages:
        """Return the images at these indices as a set of its own."""
        return replace(self, pixels_NCHW=self.pixels_NCHW[indices_M], labels_N=self.labels_N[indices_M])

    def relabel(self, labels_N: Tensor) -> TensorImages:
        """Return the same images under other labels."""
        return replace(self, labels_N=labels_N)


@dataclass(frozen=True)
class IndexedImages(ImageSet):
    """Some of the images of a file that is too large for memory: subsets share its pixels and copy none.

    Attributes:
        pixels_MCHW: uint8 images, mapped from the file; only what is asked for is read.
        rows_N: which of the M images these are, in order.
        labels_N: int64 classes.
        num_classes: number of classes.
        content: digest of the file, so that what was computed of some of its rows can be found again; empty if it is
            not known.
    """

    pixels_MCHW: Tensor
    rows_N: Tensor
    labels_N: Tensor
    num_classes: int
    content: str = ""

    def images(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices: float32 (B, C, H, W) in [0, 1]."""
        return from_uint8(self.pixels(indices_B))

    def pixels(self, indices_B: Tensor) -> Tensor:
        """Return the images at these indices with 8 bits: uint8 (B, C, H, W)."""
        return self.pixels_MCHW[self.rows_N[indices_B]]

    def subset(self, indices_M: Tensor) -> IndexedImages:
        """Return the images at these indices as a set of its own."""
        return replace(self, rows_N=self.rows_N[indices_M], labels_N=self.labels_N[indices_M])

    def relabel(self, labels_N: Tensor) -> IndexedImages:
        """Return the same images under other labels."""
        return replace(self, labels_N=labels_N)


@dataclass(frozen=True)
class GroundTruth:
    """What is known of identities beside their pictures: the shape of each face.

    The distance of two people is the root of the mean, over points, of the squared distance of corresponding points.

    Attributes:
        values_KD: float32 (K, D); row k holds D / 3 corresponding points in space of identity k, flattened as
            (x, y, z) of the first point, then of the second, and so on.
        unit: of the coordinates, ``"mm"``.
    """

    values_KD: Tensor
    unit: str = "mm"

    def __post_init__(self) -> None:
        if self.values_KD.ndim != 2 or self.values_KD.dtype != torch.float32 or self.values_KD.shape[1] % 3:
            shape = tuple(self.values_KD.shape)
            raise ValueError(f"expected float32 (K, D) with D divisible by 3, got {self.values_KD.dtype} {shape}")
        if not self.unit:
            raise ValueError("expected the unit of the coordinates, such as 'mm'")


class Dataset(ABC):
    """A dataset component: a frozen dataclass of parameters that knows how to read identities.

    The protocol decides which identities are private and which images train; a dataset only delivers.

    Attributes:
        presets: named parameter sets.
        in_memory: whether ``load`` returns ``TensorImages``. If not, what it returns reads images when they are asked
            for (decodes files, say); it is asked for each of them once, a few at a time, and the store keeps the pixels
            in a file that stages map into memory.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    in_memory: ClassVar[bool] = True

    @abstractmethod
    def num_identities(self) -> int:
        """Return how many identities there are."""

    def num_images(self, identity: int) -> int | None:
        """Return how many images an identity has, if that is known without reading them; ``None`` if not."""
        return None

    @abstractmethod
    def load(self, identities: Sequence[int], *, size: int, channels: int) -> ImageSet:
        """Read all images of these identities.

        Args:
            identities: identity numbers in [0, num_identities); the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1 (grey) or 3 (RGB).

        Returns:
            The images, ordered by class; the order within a class is fixed.

        Raises:
            DataError: if files are missing or damaged; the message names the command that fixes it.
        """

    def portraits(self, identities: Sequence[int], *, size: int, channels: int, take: int = 0) -> TensorImages:
        """Return one frontal, neutral picture of each identity, under the same light for all.

        Protocols whose ``gallery.images`` is ``"portraits"`` compare reconstructions with these. Default: there are
        none.

        Args:
            identities: identity numbers in [0, num_identities); the k-th one becomes class k.
            size: side of the square images in pixels.
            channels: 1 (grey) or 3 (RGB).
            take: 0 for the picture that stands in a judge's gallery; 1 for a second one, which takes the place of a
                perfect reconstruction (the gold control) and differs in pose or light as a second sitting would.

        Returns:
            One image of each identity, in order.

        Raises:
            UsageError: if the dataset has no such pictures.
            DataError: if files are missing or damaged; the message names the command that fixes it.
        """
        raise UsageError(
            f"{type(self).__name__} has no portraits of its identities; use a protocol whose gallery.images is 'train'"
        )

    def truth(self, identities: Sequence[int]) -> GroundTruth | None:
        """Return what is known of identities beside their pictures; ``None`` if nothing is.

        Args:
            identities: identity numbers in [0, num_identities); the k-th one becomes row k.
        """
        return None

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return, by attribute (``"sex"``, say), the group of each of the ``num_identities`` identities.

        A protocol that attacks only some classes may draw them balanced over one of these attributes. Must not need
        the images. Default: nothing is known of the identities.
        """
        return {}

    def class_names(self) -> Sequence[str]:
        """Return what people call each of the ``num_identities`` identities. Default: their numbers."""
        return [str(identity) for identity in range(self.num_identities())]

    def parts(self, identities: Sequence[int]) -> Sequence[str] | None:
        """Return what each image that ``load`` delivers is for, one of ``PARTS``, where the dataset has a split.

        A protocol whose ``split.assigned`` is true follows it. Default: ``None``, there is none.

        Args:
            identities: identity numbers, as for ``load``.
        """
        return None

    def prepare(self, source: Path, work: Path, *, split: Path | None = None, told: Told = lambda *_: None) -> Copy:
        """Look through the copy of this dataset that a user has, as ``mibench data prepare`` asks.

        A dataset with copies has a parameter ``copy: Annotated[str, InputFile(copy_of="its name")] = ""``, which names
        the description of the copy that ``load`` reads. Default: there is nothing to prepare.

        Args:
            source: folder with the copy; nothing in it is changed.
            work: folder that survives an interruption, so that no file has to be looked at twice.
            split: list of what each image is for, by SHA-256; ``None`` for the split that papers use.
            told: is told how far the work is.

        Raises:
            UsageError: if the dataset has no copies.
            DataError: if the folder does not hold the dataset.
        """
        raise UsageError(f"{type(self).__name__} needs no copy of yours; there is nothing to prepare")

    def files(self) -> Mapping[str, Sequence[CopiedImage]]:
        """Return the files that it is read from, with the SHA-256 that each has to have, in the order of classes.

        For descriptions that others read. Must not need the files. Default: nothing is known of them.
        """
        return {}

    def notes(self) -> Sequence[FileNote]:
        """Return what is to be said about single files, as ``mibench data check`` shows it. Default: nothing."""
        return ()

    def missing(self) -> list[str]:
        """Return what has to be obtained before ``load`` can work, one line each; empty if nothing."""
        return []
