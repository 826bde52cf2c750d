"""Pixels in a file of their own: what another library reads of it, resuming, and that nothing is held twice."""

import pytest
import torch
from safetensors.torch import load_file

from mibench.api import IndexedImages, MibenchError, TensorImages, from_uint8
from mibench.api.data import ImageSet
from mibench.stages import pixel_file
from mibench.stages.pixel_file import map_pixels, write_pixels

SHAPE = (3, 5, 5)


def images(count=23):
    pixels = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorImages(pixels, torch.arange(count) % 4, 4)


class Counting(ImageSet):
    """Says which images were asked for, and stops at one of them."""

    def __init__(self, of, stop=None):
        self.of, self.stop, self.asked = of, stop, []
        self.labels_N, self.num_classes = of.labels_N, of.num_classes

    def images(self, indices_B):
        return from_uint8(self.pixels(indices_B))

    def pixels(self, indices_B):
        if self.stop in indices_B.tolist():
            raise KeyboardInterrupt
        self.asked += indices_B.tolist()
        return self.of.pixels(indices_B)

    def subset(self, indices_M):
        raise NotImplementedError

    def relabel(self, labels_N):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(pixel_file, "CHUNK", 4)
    monkeypatch.setattr(pixel_file, "SAVED_EVERY", 1)


def write(found, folder):
    told = []
    write_pixels(found, SHAPE, folder, folder / "made.safetensors", lambda done, total, *_: told.append((done, total)))
    return folder / "made.safetensors", told


def test_safetensors_reads_what_was_written(tmp_path):
    found = images()
    path, told = write(found, tmp_path)
    assert torch.equal(load_file(path)["pixels"], found.pixels_NCHW)
    assert torch.equal(map_pixels(path), found.pixels_NCHW)
    assert told == [(done, 23) for done in (4, 8, 12, 16, 20, 23)]


def test_no_images_are_a_file_too(tmp_path):
    path, _ = write(images(0), tmp_path)
    assert load_file(path)["pixels"].shape == map_pixels(path).shape == (0, *SHAPE)


def test_what_was_written_before_an_interruption_is_kept(tmp_path):
    first, again = Counting(images(), stop=13), Counting(images())
    with pytest.raises(KeyboardInterrupt):
        write(first, tmp_path)
    path, _ = write(again, tmp_path)
    assert (first.asked, again.asked) == (list(range(12)), list(range(12, 23)))
    assert torch.equal(map_pixels(path), images().pixels_NCHW)


def test_a_note_without_its_file_counts_for_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(Counting(images(), stop=13), tmp_path)
    (tmp_path / "pixels.safetensors").write_bytes(b"cut off")
    path, _ = write(images(), tmp_path)
    assert torch.equal(map_pixels(path), images().pixels_NCHW)


def test_another_shape_is_refused(tmp_path):
    with pytest.raises(MibenchError, match=r"uint8 \(4, 1, 5, 5\)"):
        write_pixels(images(), (1, 5, 5), tmp_path, tmp_path / "made", lambda *_: None)


def test_subsets_of_mapped_images_share_the_pixels(tmp_path):
    found = images()
    path, _ = write(found, tmp_path)
    mapped = IndexedImages(map_pixels(path), torch.arange(23), found.labels_N, 4)
    chosen = torch.tensor([20, 3, 7, 3])
    part, wanted = mapped.subset(chosen).subset(torch.tensor([2, 0])), found.subset(chosen[[2, 0]])
    assert torch.equal(part.all_images(), wanted.all_images())
    assert torch.equal(part.labels_N, wanted.labels_N)
    assert part.pixels_MCHW.data_ptr() == mapped.pixels_MCHW.data_ptr()
    assert part.relabel(torch.tensor([1, 1])).labels_N.tolist() == [1, 1]


def test_a_map_is_read_only_where_the_file_is(tmp_path):
    path, _ = write(images(), tmp_path)
    path.chmod(0o444)
    assert torch.equal(map_pixels(path), images().pixels_NCHW)
