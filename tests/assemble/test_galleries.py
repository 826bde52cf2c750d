"""The pictures of a report: which private image stands beside which reconstructions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_plugin import PROTOCOL, parts
from safetensors.numpy import load_file

from mibench.api import TensorImages
from mibench.assemble import galleries
from mibench.assemble.galleries import make_gallery
from mibench.nodes.data import DataFiles
from mibench.protocol.identities import split_identities
from mibench.protocol.load import parse_protocol
from mibench.protocol.split import split_images
from mibench.stages.pixel_file import write_pixels
from mibench.store.store import Store

# Two reconstructions of each of three classes; four training images of each. None is the first one of its class.
NEAREST, RANKS = [2, 1, 7, 5, 9, 11], [0, 2, 1, 0, 2, 2]


@pytest.fixture()
def shown(toy_run, tmp_path):
    """Return ``shown(**details of the headline)``: a gallery, training images (HWC) and reconstructions (HWC)."""
    result = toy_run()
    (cell,), (record,), store = result.planned.cells, result.records, Store(tmp_path / "store")
    split = parse_protocol(PROTOCOL.read_text()).protocol.split
    people = split_identities(split, 12).private
    images = parts.Blobs().load(people, size=16, channels=1)
    train = split_images(split, images.labels_N.tolist(), people).train
    private_NHWC = images.pixels_NCHW[train].permute(0, 2, 3, 1).numpy()
    made = load_file(store.get("reconstruct", cell.reconstructions.key).file("evidence.safetensors"))

    def _shown(**details):
        headline = record.metrics["match@1"].model_copy(update={"details": details})
        told = record.model_copy(update={"metrics": {**record.metrics, "match@1": headline}})
        return make_gallery(cell, told, store), private_NHWC, made["pixels"].transpose(0, 2, 3, 1)

    return _shown


def _rows(gallery):
    assert [row.label for row in gallery.rows] == ["class 0", "class 1", "class 2"]
    return gallery.rows


def test_each_class_has_the_image_nearest_to_its_best_reconstruction(shown):
    gallery, private_NHWC, made_NHWC = shown(nearest=NEAREST, ranks=RANKS)
    for label, row in enumerate(_rows(gallery)):
        np.testing.assert_array_equal(row.private, private_NHWC[NEAREST[2 * label]])
        np.testing.assert_array_equal(row.reconstructions, made_NHWC[2 * label : 2 * label + 2])
    assert [row.captions for row in gallery.rows] == [["rank 1", "rank 3"], ["rank 2", "rank 1"], ["rank 3", "rank 3"]]
    assert [row.identified for row in gallery.rows] == [[True, False], [False, True], [False, False]]


def test_without_a_nearest_image_each_class_has_its_first(shown):
    gallery, private_NHWC, _ = shown()
    for label, row in enumerate(_rows(gallery)):
        np.testing.assert_array_equal(row.private, private_NHWC[4 * label])
        assert (row.captions, row.identified) == ([], [])


def test_ranks_alone_caption_what_is_shown(shown):
    gallery, private_NHWC, _ = shown(ranks=RANKS)
    for label, row in enumerate(_rows(gallery)):
        np.testing.assert_array_equal(row.private, private_NHWC[4 * label])
    assert [row.captions for row in gallery.rows] == [["rank 1", "rank 3"], ["rank 2", "rank 1"], ["rank 3", "rank 3"]]


def test_no_more_is_shown_than_fits(shown, monkeypatch):
    monkeypatch.setattr(galleries, "CLASSES", 2)
    monkeypatch.setattr(galleries, "IMAGES", 1)
    gallery, private_NHWC, made_NHWC = shown(nearest=NEAREST, ranks=RANKS)
    assert [row.label for row in gallery.rows] == ["class 0", "class 1"]
    for label, row in enumerate(gallery.rows):
        np.testing.assert_array_equal(row.reconstructions, made_NHWC[2 * label : 2 * label + 1])
        np.testing.assert_array_equal(row.private, private_NHWC[NEAREST[2 * label]])


def test_pixels_in_a_file_of_their_own_make_the_same_gallery(shown, monkeypatch, tmp_path):
    honest, held = DataFiles.read_images, []

    def kept_apart(self, load):
        found = honest(self, load)
        held.append(torch.from_numpy(found.pixels))
        return replace(found, pixels=None)

    expected, _, _ = shown(nearest=NEAREST)
    monkeypatch.setattr(DataFiles, "read_images", kept_apart)
    monkeypatch.setattr(DataFiles, "pixels", tmp_path / "pixels.safetensors")
    with pytest.raises(FileNotFoundError):
        shown(nearest=NEAREST)
    whole = TensorImages(held[0], torch.zeros(len(held[0]), dtype=torch.long), 1)
    write_pixels(whole, tuple(held[0].shape[1:]), tmp_path, tmp_path / "pixels.safetensors", lambda *_: None)
    gallery, _, _ = shown(nearest=NEAREST)
    for row, wanted in zip(gallery.rows, expected.rows, strict=True):
        np.testing.assert_array_equal(row.private, wanted.private)
