"""``image-folder`` against folders that the tests write, and against torchvision and Pillow."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mibench_datasets.image_folder import ImageFolder
from picture_files import encoded, photo, write, write_photos
from PIL import Image
from torchvision.datasets import ImageFolder as TorchvisionFolder

from mibench.api import DataError, UsageError, resize
from mibench.registry.files import digest_of_path
from mibench.testing import DatasetContract


class TestContract(DatasetContract):
    component = ImageFolder
    size = 12

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        write_photos(tmp_path, ["anna", "ben", "cleo", "dan"], 3)
        type(self).settings = {"root": str(tmp_path)}


def reasons(folder, kind):
    return {note.name: note.reason for note in folder.notes() if note.kind == kind}


def test_it_reads_what_torchvision_reads(tmp_path):
    write_photos(tmp_path, ["b", "a", "c d", "Zoë"], 2)
    write(tmp_path / "a" / "deeper" / "x.jpg", encoded(photo(7), "JPEG"))
    ours, theirs = ImageFolder(root=str(tmp_path)), TorchvisionFolder(tmp_path)
    assert ours.class_names() == theirs.classes == ["Zoë", "a", "b", "c d"]
    data = ours.load(range(4), size=32, channels=3)
    assert data.labels_N.tolist() == theirs.targets
    assert [str(picture.path) for picture in data.pictures] == [path for path, _ in theirs.imgs]
    for pixels, (image, _) in zip(data.pixels(torch.arange(len(data))), theirs, strict=True):
        square = np.asarray(image.crop((4, 0, 36, 32)))  # 40 x 32 pixels: nothing is resized
        np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), square)


def test_resizing_is_bilinear_with_antialiasing(tmp_path):
    write(tmp_path / "a" / "x.png", encoded(photo(1, (90, 90))))
    made = ImageFolder(root=str(tmp_path)).load([0], size=31, channels=3).all_images()
    whole = torch.from_numpy(np.asarray(photo(1, (90, 90))).copy()).permute(2, 0, 1)[None] / 255
    assert (made - resize(whole, 31)).abs().max() < 1.01 / 255


def test_squash_keeps_all_of_the_picture(tmp_path):
    write(tmp_path / "a" / "x.png", encoded(photo(1)))
    made = ImageFolder(root=str(tmp_path), fit="squash").load([0], size=16, channels=3).pixels(torch.tensor([0]))
    expected = np.asarray(photo(1).resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(made[0].permute(1, 2, 0).numpy(), expected)


FAULTS = {
    "empty.jpg": (b"", "empty (0 bytes)"),
    "page.jpg": (b"\n<!DOCTYPE html><html>404</html>", "HTML page"),
    "page2.jpg": (b"<div></div><html><body>not found", "HTML page"),
    "text.png": (b"hello", "no image format"),
    "lfs.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"),
    "archive.jpg": (b"PK\x03\x04rest", "zip archive"),
    "array.jpg": (b"\x93NUMPY\x01\x00", "numpy array"),
    "error.jpg": (b'{"error": "forbidden"}', "XML or JSON"),
    "head.jpg": (b"\xff\xd8\xff\xe0", "begins like an image"),
    "cut.jpg": (encoded(photo(1, (200, 200)), "JPEG")[:900], "damaged: image file is truncated"),
    "cut.png": (encoded(photo(1, (200, 200)))[:-2000], "damaged"),
    "floats.tiff": (encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), "floating-point"),
    "tiny.png": (encoded(photo(1, (3, 30))), "3 x 30 pixels; at least 8"),
}


def test_every_unusable_file_is_named_with_its_reason(tmp_path):
    write_photos(tmp_path, ["a"], 2)
    for name, (content, _) in FAULTS.items():
        write(tmp_path / "a" / name, content)
    (tmp_path / "a" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    folder = ImageFolder(root=str(tmp_path), min_side=8)
    found = reasons(folder, "unusable")
    wanted = {f"a/{name}": words for name, (_, words) in FAULTS.items()}
    wanted |= {"a/nowhere.png": "leads nowhere", "a/pipe.png": "no ordinary file", "a/loop": "link to a folder"}
    assert found.keys() == wanted.keys()
    for name, words in wanted.items():
        assert words in found[name], name
    first, *lines = folder.missing()
    assert "16 files" in first
    assert "'unusable' to 'skip'" in first
    assert "a/cut.jpg: it is damaged" in " ".join(lines)
    with pytest.raises(DataError, match=r"a/page\.jpg: it is an HTML page"):
        folder.load([0], size=8, channels=3)
    skipping = ImageFolder(root=str(tmp_path), min_side=8, unusable="skip")
    assert skipping.missing() == []
    assert len(skipping.load([0], size=8, channels=3)) == skipping.num_images(0) == 2


def sixteen_bits_rgb():
    """Return a 16-bit RGB PNG, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\x00" + struct.pack(">24H", *[60000] * 24) for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_unusual_files_are_used_and_named(tmp_path):
    grey16 = Image.fromarray(np.full((9, 9), 51400, np.uint16))
    frames = [photo(i) for i in range(3)]
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "cmyk.jpg": (encoded(photo(1, mode="CMYK"), "JPEG"), "CMYK"),
        "deep.png": (encoded(grey16), "16 bits"),
        "deep-rgb.png": (sixteen_bits_rgb(), "16 bits"),
        "palette.png": (encoded(photo(1).quantize(8)), "palette"),
        "alpha.png": (encoded(photo(1, mode="RGBA")), "transparency"),
        "moving.gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "3 frames"),
        "named.jpg": (encoded(photo(1)), "it is a PNG file"),
        "turned.jpg": (encoded(photo(1), "JPEG", exif=turned), "orientation is applied"),
    }
    for name, (content, _) in files.items():
        write(tmp_path / "a" / name, content)
    folder = ImageFolder(root=str(tmp_path))
    said = [(note.name, note.reason) for note in folder.notes() if note.kind == "converted"]
    for name, (_, words) in files.items():
        assert any(words in reason for named, reason in said if named == f"a/{name}"), name
    assert folder.missing() == []
    data = folder.load([0], size=8, channels=3)
    order = [picture.path.name for picture in data.pictures]
    assert torch.all(data.pixels(torch.tensor([order.index("deep.png")])) == 200)  # 51400 / 257
    assert torch.all(data.pixels(torch.tensor([order.index("deep-rgb.png")])) == 234)  # Pillow keeps the upper byte


def test_a_cameras_orientation_is_applied_or_not(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    write(tmp_path / "a" / "x.jpg", encoded(photo(1, (32, 32)), "JPEG", exif=turned, quality=95))
    up, down = (
        ImageFolder(root=str(tmp_path), exif=exif).load([0], size=32, channels=3).pixels(torch.tensor([0]))
        for exif in (True, False)
    )
    assert torch.equal(up, down.flip(2, 3))
    assert not torch.equal(up, down)


def test_what_the_settings_leave_out_is_named(tmp_path):
    write_photos(tmp_path, ["a", "b"], 3)
    write(tmp_path / "few" / "one.png", encoded(photo(5)))
    write(tmp_path / "a" / "notes.txt", b"x")
    write(tmp_path / "a" / ".DS_Store", b"x")
    write(tmp_path / "loose.png", encoded(photo(6)))
    write(tmp_path / "a" / "other.webp", encoded(photo(6), "WEBP"))
    folder = ImageFolder(root=str(tmp_path), min_images=2, extensions=(".png",))
    assert folder.class_names() == ["a", "b"]
    ignored = reasons(folder, "ignored")
    assert ignored.keys() == {"few/one.png", "a/notes.txt", "a/.DS_Store", "loose.png", "a/other.webp"}
    assert "1 usable images, and at least 2" in ignored["few/one.png"]
    assert "no class's folder" in ignored["loose.png"]
    assert folder.missing() == []


def test_equal_bytes_are_named(tmp_path):
    write_photos(tmp_path, ["a", "b"], 2)
    same = encoded(photo(0))
    write(tmp_path / "b" / "copy.png", same)
    assert reasons(ImageFolder(root=str(tmp_path)), "duplicate") == {
        "b/copy.png": "it has the same bytes as a/0.png of another class (a)"
    }


def test_letters_in_two_unicode_forms_are_one_name(tmp_path):
    write_photos(tmp_path, ["Adrianne_Leo\u0301n", "Zoe"], 2)
    assert ImageFolder(root=str(tmp_path)).class_names() == ["Adrianne_Le\u00f3n", "Zoe"]
    write_photos(tmp_path, ["Adrianne_Le\u00f3n"], 2)
    folder = ImageFolder(root=str(tmp_path))
    assert "different Unicode" in " ".join(folder.missing())
    assert folder.class_names() == ["Zoe"]


def test_names_that_are_no_text_are_named(tmp_path):
    write_photos(tmp_path, ["a"], 2)
    odd = os.fsencode(tmp_path) + b"/Adrianne_Le\xa2n"
    write(Path(os.fsdecode(odd)) / "x.png", encoded(photo(3)))
    folder = ImageFolder(root=str(tmp_path))
    assert "not UTF-8" in reasons(folder, "unusable")["Adrianne_Le\\xa2n/x.png"]
    assert digest_of_path(tmp_path).startswith("sha256:")


def test_links_to_folders_count_for_content_and_key(tmp_path):
    write_photos(tmp_path / "elsewhere", ["a person"], 2)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere" / "a person")
    folder = ImageFolder(root=str(tmp_path / "root"))
    assert (folder.class_names(), folder.num_images(0)) == (["linked"], 2)
    before = digest_of_path(tmp_path / "root")
    write(tmp_path / "elsewhere" / "a person" / "0.png", encoded(photo(99)))
    assert digest_of_path(tmp_path / "root") != before


def test_a_folder_that_cannot_be_written_is_enough(tmp_path):
    write_photos(tmp_path, ["a"], 2)
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(ImageFolder(root=str(tmp_path)).load([0], size=8, channels=1)) == 2
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755)


def test_a_file_that_changes_later_is_refused(tmp_path):
    write_photos(tmp_path, ["a"], 2)
    data = ImageFolder(root=str(tmp_path)).load([0], size=8, channels=3)
    write(tmp_path / "a" / "1.png", encoded(photo(50)))
    with pytest.raises(DataError, match=r"1\.png has changed"):
        data.pixels(torch.tensor([1]))
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(DataError, match="No such file"):
        data.pixels(torch.tensor([1]))


def split_text(root, lines):
    path = root / "split.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_a_split_file_names_images_by_path_or_digest(tmp_path):
    root = write_photos(tmp_path / "root", ["a b", "c"], 2)
    digest = hashlib.sha256((root / "c" / "1.png").read_bytes()).hexdigest()
    lines = ["# part, image", "train a b/0.png", "test\ta b/1.png", "", f"val {digest}", "unused c/0.png"]
    folder = ImageFolder(root=str(root), split=split_text(tmp_path, lines))
    assert folder.parts([0, 1]) == ["train", "test", "unused", "val"]
    assert folder.parts([1]) == ["unused", "val"]
    assert ImageFolder(root=str(root)).parts([0]) is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["train a/0.png"], r"no part for 1 of 2 images: a/1\.png"),
        (["train a/0.png", "test a/1.png", "test a/2.png"], r"1 images that are not there or not usable: a/2\.png"),
        (["train a/0.png", "learn a/1.png"], "line 2: expected one of train, val, test, unused"),
        (["train a/0.png", "test a/0.png"], r"a/0\.png is in two parts"),
    ],
)
def test_split_files_that_do_not_fit_are_refused(tmp_path, lines, words):
    root = write_photos(tmp_path / "root", ["a"], 2)
    with pytest.raises(DataError, match=words):
        ImageFolder(root=str(root), split=split_text(tmp_path, lines)).parts([0])


def test_without_a_folder_it_says_what_to_give():
    assert "'root'" in ImageFolder().missing()[0]
    assert ImageFolder().num_identities() == 0
    with pytest.raises(DataError, match="no folder"):
        ImageFolder(root="/nowhere at all").load([0], size=8, channels=3)


def test_a_class_that_does_not_exist(tmp_path):
    write_photos(tmp_path, ["a"], 2)
    with pytest.raises(UsageError, match="identities 0 to 0"):
        ImageFolder(root=str(tmp_path)).load([1], size=8, channels=3)
