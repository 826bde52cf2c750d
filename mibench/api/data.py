"""Datasets and sets of images.

Shapes: N images, B of a batch, C channels (1 or 3), H = W the protocol's side in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from mibench.api.images import from_uint8


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

    @abstractmethod
    def subset(self, indices_M: Tensor) -> ImageSet:
        """Return the images at these indices as a set of its own."""

    @abstractmethod
    def relabel(self, labels_N: Tensor) -> ImageSet:
        """Return the same images under other labels (for training-data experiments)."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def all_images(self) -> Tensor:
        """Return every image: float32 (N, C, H, W) in [0, 1]."""
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
        return from_uint8(self.pixels_NCHW[indices_B])

    def subset(self, indices_M: Tensor) -> TensorImages:
        """Return the images at these indices as a set of its own."""
        return replace(self, pixels_NCHW=self.pixels_NCHW[indices_M], labels_N=self.labels_N[indices_M])

    def relabel(self, labels_N: Tensor) -> TensorImages:
        """Return the same images under other labels."""
        return replace(self, labels_N=labels_N)


@dataclass(frozen=True)
class GroundTruth:
    """What is exactly known of people: the shape of the face, for datasets that know it.

    The distance of two people is the root mean square distance of corresponding points.

    Attributes:
        values_KD: float32 points of each person, D / 3 points of x y z each, flattened.
        unit: of the coordinates, such as ``"mm"``.
    """

    values_KD: Tensor
    unit: str


class Dataset(ABC):
    """A dataset component: a frozen dataclass of parameters that knows how to read identities.

    The protocol decides which identities are private and which images train; a dataset only delivers.

    Attributes:
        presets: named parameter sets.
        in_memory: whether ``load`` returns ``TensorImages``, which the store then keeps ready-made.
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

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return, by attribute (``"sex"``, say), the group of each of the ``num_identities`` identities.

        A protocol that attacks only some classes may draw them balanced over one of these attributes. Must not need
        the images. Default: nothing is known of the identities.
        """
        return {}

    def missing(self) -> list[str]:
        """Return what has to be obtained before ``load`` can work, one line each; empty if nothing."""
        return []
