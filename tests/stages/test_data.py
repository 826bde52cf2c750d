"""The private images, split: which image is in which part, against the protocol's own split of the dataset itself."""

import pytest
import torch
from fake_plugin import PROTOCOL, parts

from mibench.protocol.identities import split_identities
from mibench.protocol.load import parse_protocol
from mibench.protocol.request import Request
from mibench.protocol.split import split_images
from mibench.session.run import plan_request
from mibench.stages.context import StageContext
from mibench.stages.data import load_private
from mibench.stages.files import load_tensors
from mibench.stages.run import run_node
from mibench.store.store import Store

CPU = torch.device("cpu")
SIZES = {"train": 3 * 4, "val": 3 * 1, "test": 3 * 2}  # three people of toy.yaml; no two parts are of one size


@pytest.mark.parametrize("variant", ["test", "validation"])
def test_each_part_holds_the_images_that_the_protocol_chose(toy_registry, tmp_path, variant):
    request = Request(protocols=("toy",), defenses=("plain",), attacks=("guess",), variant=variant, store=tmp_path)
    (cell,) = plan_request(request, toy_registry).cells
    store, gold = Store(tmp_path), cell.graph.gold()
    for node in (cell.graph.data("private"), gold):
        run_node(node, store, toy_registry, CPU, lambda *_: None)
    ctx = StageContext(cell.target, store, toy_registry, CPU, tmp_path, tmp_path, lambda *_: None)
    data = load_private(ctx, ctx.inputs.private, ctx.inputs.split)

    split = parse_protocol(PROTOCOL.read_text(), variant).protocol.split
    people = split_identities(split, 12).private
    images = parts.Blobs().load(people, size=16, channels=1)
    chosen = split_images(split, images.labels_N.tolist(), people)
    for name, size in SIZES.items():
        indices = getattr(chosen, name)
        assert len(indices) == len(data.split(name)) == size
        assert torch.equal(data.split(name).pixels_NCHW, images.pixels_NCHW[indices])  # type: ignore[attr-defined]
        assert torch.equal(data.split(name).labels_N, images.labels_N[indices])
    held = chosen.test if variant == "test" else chosen.val
    shown = load_tensors(store.get("gold", gold.key).file("evidence.safetensors"))
    assert torch.equal(shown["pixels"], images.pixels_NCHW[held])  # both are ordered by class
