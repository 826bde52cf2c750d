"""``celeba`` against excerpts in torchvision's layout, and every fault that real copies have."""

from collections import Counter

import numpy as np
import pytest
import torch
from mibench_datasets import celeba as module
from mibench_datasets.celeba import CelebA, most_frequent, read_identities
from official_copies import celeba
from picture_files import encoded, photo, write

from mibench.api import DataError
from mibench.testing import DatasetContract


def prepared(root, where, people=6, **settings):
    copy = CelebA(people=people, official=False, **settings).prepare(root, where / "work")
    return copy, copy.write(where)


class TestContract(DatasetContract):
    component = CelebA
    size = 12

    @pytest.fixture(autouse=True)
    def _copy(self, tmp_path):
        _, path = prepared(celeba(tmp_path / "root", pictures=3), tmp_path / "made")
        type(self).settings = {"copy": str(path), "people": 6}


def test_classes_are_ranked_as_in_the_papers_code(tmp_path):
    rows = [("a.jpg", 7), ("b.jpg", 3), ("c.jpg", 3), ("d.jpg", 9), ("e.jpg", 7), ("f.jpg", 5)]
    counts = Counter(np.array([person for _, person in rows]))
    expected = list(dict(sorted(counts.items(), key=lambda item: item[1], reverse=True)))
    assert most_frequent(rows, 4) == expected == [7, 3, 9, 5]
    with pytest.raises(DataError, match="names 4 people"):
        most_frequent(rows, 5)
    copy, _ = prepared(celeba(tmp_path / "root"), tmp_path / "made")
    assert list(copy.classes) == [f"identity {person}" for person in (2, 3, 4, 5, 6, 1)]


def test_the_split_is_that_of_the_papers_code(tmp_path):
    root = celeba(tmp_path / "root")
    copy, path = prepared(root, tmp_path / "made", people=4)
    rows = read_identities(root / "identity_CelebA.txt")
    targets = np.array([person for _, person in rows])
    indices = np.where(np.isin(targets, most_frequent(rows, 4)))[0]
    np.random.seed(42)  # noqa: NPY002 - as the released code does
    np.random.shuffle(indices)  # noqa: NPY002
    test = {rows[i][0] for i in indices[int(0.9 * len(indices)) :]}
    images = [image for own in copy.classes.values() for image in own]
    assert {image.name.rpartition("/")[2] for image in images if image.part == "test"} == test
    assert len(CelebA(copy=str(path), people=4).parts([0, 3])) == 16


def test_hd_crops_are_png_under_the_names_of_jpegs(tmp_path):
    copy, path = prepared(celeba(tmp_path / "root", kind="PNG", folder="hdcrop"), tmp_path / "made")
    assert copy.facts["crop"] == "hd"
    dataset = CelebA(copy=str(path), people=6)
    data = dataset.load([0], size=64, channels=3)
    np.testing.assert_array_equal(data.pixels(torch.tensor([0]))[0].permute(1, 2, 0), np.asarray(photo(1, (64, 64))))
    assert dataset.num_images(5) == 7


def test_aligned_pictures_are_another_crop(tmp_path):
    root = celeba(tmp_path / "root", size=(178, 218))
    copy, path = prepared(root, tmp_path / "made")
    assert copy.facts["crop"] == "aligned"
    assert "hd pictures of CelebA" in CelebA(copy=str(path), people=6).missing()[0]
    assert CelebA(copy=str(path), people=6, crop="aligned").missing() == []


def test_of_two_folders_the_wanted_crop_is_taken(tmp_path):
    root = celeba(tmp_path / "root", size=(178, 218))
    celeba(tmp_path / "root", kind="PNG", folder="zz/data")
    for crop in ("hd", "aligned"):
        copy, _ = prepared(root, tmp_path / crop, crop=crop)
        assert copy.facts["crop"] == crop


def test_lists_must_be_the_official_ones(tmp_path, monkeypatch):
    root = celeba(tmp_path / "root")
    with pytest.raises(DataError, match=r"identity_CelebA\.txt is not the official file \(MD5 .*official=false"):
        CelebA(people=6).prepare(root, tmp_path / "work")
    import hashlib

    real = hashlib.md5((root / "identity_CelebA.txt").read_bytes()).hexdigest()
    monkeypatch.setitem(module.MD5, "identity_CelebA.txt", real)
    assert "official: identity_CelebA.txt" in CelebA(people=6).prepare(root, tmp_path / "work").place["lists"]
    write(root / "list_attr_celeba.txt", b"<html>Quota exceeded</html>")
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt is not the official file"):
        CelebA(people=6).prepare(root, tmp_path / "work")


def test_pictures_that_are_not_there_or_broken_are_named(tmp_path):
    root = celeba(tmp_path / "root")
    (root / "img_align_celeba" / "000003.jpg").unlink()
    write(root / "img_align_celeba" / "000005.jpg", b"<html></html>")
    write(root / "img_align_celeba" / "000007.jpg", encoded(photo(1, (64, 64)), "JPEG")[:400])
    copy, _ = prepared(root, tmp_path / "made")
    said = {note.name.rpartition("/")[2]: note.reason for note in copy.notes}
    assert "lists it, and it is not in" in said["000003.jpg"]
    assert "HTML page" in said["000005.jpg"]
    assert "damaged" in said["000007.jpg"]
    assert copy.count == 47 - 3


@pytest.mark.parametrize(
    ("text", "words"), [(b"000001.jpg\n", "line 1: expected"), (b"000001.jpg 5\n000002.jpg five\n", "line 2")]
)
def test_a_list_that_cannot_be_read(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_identities(write(tmp_path / "identity_CelebA.txt", text))


def test_what_is_missing_is_said(tmp_path):
    assert "mibench data prepare celeba --from FOLDER" in CelebA().missing()[0]
    with pytest.raises(DataError, match=r"has no identity_CelebA\.txt"):
        CelebA().prepare(tmp_path, tmp_path / "work")
    write(tmp_path / "identity_CelebA.txt", b"000001.jpg 5\n")
    with pytest.raises(DataError, match="no folder of pictures"):
        CelebA(official=False, people=1).prepare(tmp_path, tmp_path / "work")
    _, path = prepared(celeba(tmp_path / "root"), tmp_path / "made", people=3)
    assert "was prepared for 3" in CelebA(copy=str(path), people=6).missing()[0]
