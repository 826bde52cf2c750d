"""Stage ``data``: read the pictures of some identities once, at the protocol's size, and keep them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from mibench.api.data import PARTS, Dataset, GroundTruth, ImageSet, IndexedImages, TensorImages
from mibench.api.errors import MibenchError
from mibench.api.plain import brief
from mibench.api.rng import seeded
from mibench.nodes.data import DataFiles, DataInputs, StoredImages
from mibench.nodes.marks import Ref
from mibench.protocol.split import PrivateSplit, private_indices
from mibench.stages.context import StageContext
from mibench.stages.files import load_tensors, save_tensors
from mibench.stages.pixel_file import map_pixels, write_pixels
from mibench.store.artifact import Artifact


def run(ctx: StageContext[DataInputs]) -> None:
    """Load the pictures through the dataset component and save them as 8-bit pixels, and what else is known."""
    inputs, files = ctx.inputs, DataFiles(ctx.draft)
    dataset: Dataset = ctx.component("dataset", inputs.dataset)
    images = _load(dataset, inputs)
    stored = StoredImages(torch.tensor(len(inputs.identities)), labels=images.labels_N)
    if isinstance(images, TensorImages):
        stored = replace(stored, pixels=images.pixels_NCHW)
    else:
        shape = (inputs.image.channels, inputs.image.size, inputs.image.size)
        with seeded("dataset", inputs.dataset.name):
            write_pixels(images, shape, ctx.work, files.pixels, ctx.progress)
    if inputs.truth and (truth := _truth(dataset, inputs)):
        stored = replace(stored, truth=truth.values_KD)
        files.write_unit(truth.unit)
    if inputs.portraits is None and (parts := _parts(dataset, inputs, len(images))):
        stored = replace(stored, parts=torch.tensor(parts, dtype=torch.uint8))
    save_tensors(files.images, stored.tensors())


def load_images(artifact: Artifact) -> ImageSet:
    """Return the images of a data artifact; pixels that are too many for memory are read when they are used."""
    stored = DataFiles(artifact.path).read_images(load_tensors)
    if stored.labels is None:
        raise MibenchError(f"the data artifact {artifact.path} was made by an older version; remove it")
    if stored.pixels is not None:
        return TensorImages(stored.pixels, stored.labels, int(stored.classes))
    mapped_NCHW = map_pixels(DataFiles(artifact.path).pixels)
    rows_N, classes = torch.arange(len(mapped_NCHW)), int(stored.classes)
    return IndexedImages(mapped_NCHW, rows_N, stored.labels, classes, artifact.content)


def load_truth(artifact: Artifact) -> GroundTruth | None:
    """Return what a data artifact keeps of its identities beside their pictures."""
    files = DataFiles(artifact.path)
    values_KD = files.read_images(load_tensors).truth
    return None if values_KD is None else GroundTruth(values_KD, files.unit())


def are_portraits(artifact: Artifact) -> bool:
    """Tell whether a data artifact holds portraits."""
    return DataInputs.read(artifact.payload).portraits is not None


def _load(dataset: Dataset, inputs: DataInputs) -> Any:
    image, identities = inputs.image, inputs.identities
    with seeded("dataset", inputs.dataset.name):  # the same images, whichever stage asks for them
        if inputs.portraits is None:
            return dataset.load(identities, size=image.size, channels=image.channels)
        found = dataset.portraits(identities, size=image.size, channels=image.channels, take=inputs.portraits)
    if found.labels_N.tolist() != list(range(len(identities))):
        raise MibenchError(
            f"the dataset {inputs.dataset.name!r} delivered portraits of classes {brief(found.labels_N.tolist())};"
            f" expected one of each of {len(identities)} identities, in order"
        )
    return found


def _parts(dataset: Dataset, inputs: DataInputs, count: int) -> list[int]:
    with seeded("dataset", inputs.dataset.name):
        parts = dataset.parts(inputs.identities)
    if parts is None:
        return []
    if len(parts) != count or not set(parts) <= set(PARTS):
        raise MibenchError(
            f"the dataset {inputs.dataset.name!r} told parts {brief(sorted(set(parts)))} of {len(parts)} images;"
            f" expected one of {', '.join(PARTS)} for each of {count}"
        )
    return [PARTS.index(part) for part in parts]


def _truth(dataset: Dataset, inputs: DataInputs) -> GroundTruth | None:
    with seeded("dataset", inputs.dataset.name):
        found = dataset.truth(inputs.identities)
    if found is not None and len(found.values_KD) != len(inputs.identities):
        raise MibenchError(
            f"the dataset {inputs.dataset.name!r} told the truth of {len(found.values_KD)} identities; expected"
            f" {len(inputs.identities)}"
        )
    return found


@dataclass(frozen=True)
class PrivateData:
    """The private images, split as the protocol says."""

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def split(self, name: str) -> ImageSet:
        """Return ``"train"``, ``"val"`` or ``"test"``."""
        found: ImageSet = getattr(self, name)
        return found


def load_private(ctx: StageContext[Any], private: Ref, split: PrivateSplit) -> PrivateData:
    """Return the private images, split."""
    artifact = ctx.artifact(private)
    images = load_images(artifact)
    stored = DataFiles(artifact.path).read_images(load_tensors).parts
    parts = private_indices(split, images.labels_N.tolist(), None if stored is None else stored.tolist())
    return PrivateData(
        *(images.subset(torch.tensor(i, dtype=torch.long)) for i in (parts.train, parts.val, parts.test))
    )
