"""Stage ``data``: read the images of some identities once, at the protocol's size, and keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mibench.api.data import ImageSet, TensorImages
from mibench.api.rng import seeded
from mibench.protocol.split import private_indices
from mibench.registry.build import build_component
from mibench.registry.registry import Registry
from mibench.stages.context import StageContext
from mibench.stages.files import load_tensors, save_tensors
from mibench.store.artifact import Artifact


def run(ctx: StageContext) -> None:
    """Load the images through the dataset component and save them as 8-bit tensors."""
    dataset = ctx.component("dataset", ctx.payload["dataset"])
    tensors = {"classes": torch.tensor(len(ctx.payload["identities"]))}
    if dataset.in_memory:
        images = _load(dataset, ctx.payload)
        tensors |= {"pixels": images.pixels_NCHW, "labels": images.labels_N}
    save_tensors(ctx.draft / "images.safetensors", tensors)


def load_images(registry: Registry, artifact: Artifact) -> ImageSet:
    """Return the images of a data artifact; those that are too many for memory come from their dataset."""
    kept = kept_images(artifact)
    if kept is not None:
        return kept
    with seeded("component", "dataset", artifact.payload["dataset"]["name"]):
        dataset = build_component(registry, "dataset", artifact.payload["dataset"])
    images: ImageSet = _load(dataset, artifact.payload)
    return images


def kept_images(artifact: Artifact) -> TensorImages | None:
    """Return the images that a data artifact holds; ``None`` if they were too many to keep."""
    tensors = load_tensors(artifact.file("images.safetensors"))
    if "pixels" not in tensors:
        return None
    return TensorImages(tensors["pixels"], tensors["labels"], int(tensors["classes"]))


def _load(dataset: Any, payload: Mapping[str, Any]) -> Any:
    image = payload["image"]
    with seeded("dataset", payload["dataset"]["name"]):  # the same images, whichever stage asks for them
        return dataset.load(payload["identities"], size=image["size"], channels=image["channels"])


@dataclass(frozen=True)
class PrivateData:
    """The private images, split as the protocol says."""

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def part(self, name: str) -> ImageSet:
        """Return ``"train"``, ``"val"`` or ``"test"``."""
        found: ImageSet = getattr(self, name)
        return found


def load_private(ctx: StageContext) -> PrivateData:
    """Return the private images of a node whose payload holds a split."""
    images = load_images(ctx.registry, ctx.input("private"))
    parts = private_indices(ctx.payload["split"], images.labels_N.tolist())
    return PrivateData(
        *(images.subset(torch.tensor(i, dtype=torch.long)) for i in (parts.train, parts.val, parts.test))
    )
