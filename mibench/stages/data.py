"""Stage ``data``: read the images of some identities once, at the protocol's size, and keep them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from mibench.api.data import ImageSet, TensorImages
from mibench.api.rng import seeded
from mibench.nodes.data import DataFiles, DataInputs, StoredImages
from mibench.nodes.marks import Ref
from mibench.protocol.split import PrivateSplit, private_indices
from mibench.registry.build import build_component
from mibench.registry.registry import Registry
from mibench.stages.context import StageContext
from mibench.stages.files import load_tensors, save_tensors
from mibench.store.artifact import Artifact


def run(ctx: StageContext[DataInputs]) -> None:
    """Load the images through the dataset component and save them as 8-bit tensors."""
    dataset = ctx.component("dataset", ctx.inputs.dataset)
    stored = StoredImages(torch.tensor(len(ctx.inputs.identities)))
    if dataset.in_memory:
        images = _load(dataset, ctx.inputs)
        stored = replace(stored, pixels=images.pixels_NCHW, labels=images.labels_N)
    save_tensors(DataFiles(ctx.draft).images, stored.tensors())


def load_images(registry: Registry, artifact: Artifact) -> ImageSet:
    """Return the images of a data artifact; those that are too many for memory come from their dataset."""
    kept = kept_images(artifact)
    if kept is not None:
        return kept
    inputs = DataInputs.read(artifact.payload)
    with seeded("component", "dataset", inputs.dataset.name):
        dataset = build_component(registry, "dataset", inputs.dataset)
    images: ImageSet = _load(dataset, inputs)
    return images


def kept_images(artifact: Artifact) -> TensorImages | None:
    """Return the images that a data artifact holds; ``None`` if they were too many to keep."""
    stored = DataFiles(artifact.path).read_images(load_tensors)
    if stored.pixels is None or stored.labels is None:
        return None
    return TensorImages(stored.pixels, stored.labels, int(stored.classes))


def _load(dataset: Any, inputs: DataInputs) -> Any:
    with seeded("dataset", inputs.dataset.name):  # the same images, whichever stage asks for them
        return dataset.load(inputs.identities, size=inputs.image.size, channels=inputs.image.channels)


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
    images = load_images(ctx.registry, ctx.artifact(private))
    parts = private_indices(split, images.labels_N.tolist())
    return PrivateData(
        *(images.subset(torch.tensor(i, dtype=torch.long)) for i in (parts.train, parts.val, parts.test))
    )
