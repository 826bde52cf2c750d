"""``stanford-dogs`` against small copies with lists in MATLAB's format, and every fault that real copies have."""

import numpy as np
import pytest
import torch
from mibench_datasets.stanford_dogs import StanfordDogs, read_box, read_list
from official_copies import BREEDS, dogs
from picture_files import encoded, photo, write
from PIL import Image
from scipy.io import loadmat, savemat

from mibench.api import DataError
from mibench.testing import DatasetContract


def prepared(root, where):
    copy = StanfordDogs().prepare(root, where / "work")
    return copy, copy.write(where)


class TestContract(DatasetContract):
    component = StanfordDogs
    size = 12

    @pytest.fixture(autouse=True)
    def _copy(self, tmp_path):
        _, path = prepared(dogs(tmp_path / "root", count=2), tmp_path / "made")
        type(self).settings = {"copy": str(path), "breeds": "present"}


def test_each_picture_is_cut_to_its_first_dog(tmp_path):
    root = dogs(tmp_path / "root")
    copy, path = prepared(root, tmp_path / "made")
    assert list(copy.classes) == list(BREEDS)
    data = StanfordDogs(copy=str(path), breeds="present").load([2], size=28, channels=3)
    picture = np.asarray(Image.open(root / "Images" / BREEDS[2] / "n02085936_100.jpg"))
    np.testing.assert_array_equal(data.pixels(torch.tensor([0]))[0].permute(1, 2, 0), picture[3:31, 2:30])


def test_the_split_is_that_of_the_papers_code(tmp_path):
    root = dogs(tmp_path / "root")
    copy, _ = prepared(root, tmp_path / "made")
    lists = [loadmat(root / f"{part}_list.mat")["annotation_list"] for part in ("train", "test")]
    names = [item[0][0] for own in lists for item in own]
    indices = list(range(len(names)))
    np.random.seed(42)  # noqa: NPY002 - as the released code does
    np.random.shuffle(indices)  # noqa: NPY002
    test = {f"Images/{names[i]}.jpg" for i in indices[int(0.9 * len(names)) :]}
    images = [image for own in copy.classes.values() for image in own]
    assert {image.name for image in images if image.part == "test"} == test


def test_pictures_without_files_boxes_or_sense_are_named(tmp_path):
    root = dogs(tmp_path / "root")
    first = root / "Images" / BREEDS[0]
    (first / "n02085620_100.jpg").unlink()
    (root / "Annotation" / BREEDS[0] / "n02085620_101").unlink()
    write(root / "Annotation" / BREEDS[0] / "n02085620_102", b"<annotation></annotation>")
    write(first / "n02085620_103.jpg", b"<html></html>")
    write(first / "n02085620_104.jpg", encoded(photo(3, mode="RGBA")))
    outside = "<xmin>90</xmin><ymin>1</ymin><xmax>99</xmax><ymax>9</ymax>"
    write(root / "Annotation" / BREEDS[0] / "n02085620_105", outside.encode())
    copy, path = prepared(root, tmp_path / "made")
    said = {}
    for note in copy.notes:
        said.setdefault(note.name.rpartition("_")[2], []).append(note.reason)
    assert "not there" in said["100.jpg"][0]
    assert "marks no dog" in said["101.jpg"][0]
    assert "marks no dog" in said["102.jpg"][0]
    assert "HTML page" in said["103.jpg"][0]
    assert any("PNG file" in reason for reason in said["104.jpg"])  # one of the official pictures is such
    assert "lies outside" in said["105.jpg"][0]
    assert copy.count == 32 - 5
    assert "20553 of the 20580 pictures" in StanfordDogs(copy=str(path)).missing()[0]


def test_a_folder_called_annotations_will_do(tmp_path):
    root = dogs(tmp_path / "outer" / "root", count=2)
    (root / "Annotation").rename(root / "Annotations")
    assert prepared(tmp_path / "outer", tmp_path / "made")[0].count == 8


def test_what_is_missing_is_said(tmp_path):
    assert "mibench data prepare stanford-dogs --from FOLDER" in StanfordDogs().missing()[0]
    assert StanfordDogs().num_identities() == 120
    with pytest.raises(DataError, match="no folder Images"):
        StanfordDogs().prepare(tmp_path, tmp_path / "work")
    root = dogs(tmp_path / "root", count=2)
    (root / "train_list.mat").rename(root / "away")
    with pytest.raises(DataError, match=r"train_list\.mat is not there; unpack lists\.tar"):
        prepared(root, tmp_path / "made")


def test_features_in_the_place_of_a_list_are_refused(tmp_path):
    """``train_data.mat`` holds features, and no code of the papers needs it."""
    savemat(tmp_path / "train_list.mat", {"train_data": np.zeros((2, 2))})
    with pytest.raises(DataError, match="is not the list of Stanford Dogs"):
        read_list(tmp_path / "train_list.mat")
    write(tmp_path / "test_list.mat", b"<html></html>")
    with pytest.raises(DataError, match="is not the list"):
        read_list(tmp_path / "test_list.mat")


def test_lists_that_contradict_each_other_are_refused(tmp_path):
    root = dogs(tmp_path / "root", count=2, train=1)
    held = loadmat(root / "test_list.mat")
    held["labels"][0] = 2
    savemat(root / "test_list.mat", {name: held[name] for name in ("annotation_list", "labels")})
    with pytest.raises(DataError, match="one class to two breeds"):
        prepared(root, tmp_path / "made")


def test_boxes_are_read_as_numbers(tmp_path):
    text = b"<object><bndbox><xmin> 4 </xmin><ymin>5</ymin><xmax>6</xmax><ymax>7</ymax></bndbox></object>"
    assert read_box(write(tmp_path / "x", text)) == (4, 5, 6, 7)
    assert read_box(tmp_path / "gone") is None
