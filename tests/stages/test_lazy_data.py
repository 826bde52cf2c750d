"""The stage ``data`` on images that are read when they are asked for, and on what a dataset says they are for."""

import pytest
import torch
from safetensors.torch import load_file

from mibench.api import IndexedImages, MibenchError, TensorImages
from mibench.nodes.classifier import TargetInputs
from mibench.stages import pixel_file
from mibench.stages.context import StageContext
from mibench.stages.data import load_images, load_private
from mibench.store.store import Store
from mibench.testing.tiny_components import TinyFaces
from mibench.testing.tiny_stages import tiny_stages
from mibench.testing.tiny_world import TinyWorld
from mibench.testing.training import CPU

WORLD = TinyWorld()
HONEST = TinyFaces.load


def lazily(self, identities, *, size, channels):
    found = HONEST(self, identities, size=size, channels=channels)
    return IndexedImages(found.pixels_NCHW, torch.arange(len(found)), found.labels_N, found.num_classes)


def test_pixels_lie_in_a_file_of_their_own_and_are_the_same(monkeypatch):
    with tiny_stages(WORLD) as stages:
        whole = load_images(stages.make(stages.cell.graph.data("private")))
        assert isinstance(whole, TensorImages)
    monkeypatch.setattr(TinyFaces, "load", lazily)
    monkeypatch.setattr(pixel_file, "CHUNK", 3)
    with tiny_stages(WORLD) as stages:
        artifact = stages.same_bytes(stages.cell.graph.data("private"), stop=2)
        assert set(artifact.files) == {"images.safetensors", "pixels.safetensors"}
        found = load_images(artifact)
        assert isinstance(found, IndexedImages)
        assert found.content == artifact.content
        assert torch.equal(found.pixels(torch.arange(len(found))), whole.pixels_NCHW)
        assert torch.equal(found.labels_N, whole.labels_N)


def test_parts_of_the_dataset_are_kept_and_followed(monkeypatch):
    told = ["unused", "train", "test", "val"]
    monkeypatch.setattr(TinyFaces, "parts", lambda self, identities: [told[k % 4] for k in range(12)], raising=False)
    monkeypatch.setattr(
        TinyFaces,
        "load",
        lambda self, identities, **shape: (
            HONEST(self, identities, **shape).subset(torch.arange(12)).relabel(torch.arange(12) // 4)
        ),
    )
    split = {"seed": 0, "private": 3, "public": 3, "train": 1, "val": 1, "test": 1, "assigned": True}
    with tiny_stages(WORLD, split=split) as stages:
        node = stages.cell.graph.data("private")
        artifact = stages.make(node)
        assert load_file(artifact.file("images.safetensors"))["parts"].tolist() == [3, 0, 2, 1] * 3
        target = stages.cell.target
        assert isinstance(target.inputs, TargetInputs)
        world = (stages.registry, CPU, stages.root, stages.root, lambda *_: None)
        ctx = StageContext(target, Store(stages.root), *world)
        data = load_private(ctx, target.inputs.private, target.inputs.split)
        assert [len(data.split(name)) for name in ("train", "val", "test")] == [3, 3, 3]
        assert torch.equal(data.train.all_images(), load_images(artifact).all_images()[[1, 5, 9]])


@pytest.mark.parametrize("told", [["train"], ["learn"] * 200])
def test_parts_that_do_not_fit_are_refused(monkeypatch, told):
    monkeypatch.setattr(TinyFaces, "parts", lambda self, identities: told, raising=False)
    with tiny_stages(WORLD) as stages, pytest.raises(MibenchError, match="expected one of train, val, test, unused"):
        stages.make(stages.cell.graph.data("private"))
