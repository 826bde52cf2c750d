"""``mibench data prepare`` and ``check``, from the folder that a user has to what a run reads."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins/mibench-datasets/tests"))  # writers of copies

from official_copies import celeba, facescrub
from picture_files import write_photos


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("MIBENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_copy_is_described_and_checked(mibench, tmp_path, data):
    root = facescrub(tmp_path / "copy", count=2)
    made = mibench("data", "prepare", "facescrub", "--from", str(root))
    assert made.code == 1  # 524 people are missing
    assert "found    12 images of 530 classes, 0 to 2 of each" in made.out
    assert "pictures of 524 of 530 people" in made.out
    assert sorted(path.name for path in (data / "facescrub").iterdir()) == [
        *("copy.json", "notes.json", "split.txt", "where.json", "work")
    ]
    checked = mibench("data", "check", "facescrub")
    assert checked.code == 0
    assert "all 12 files" in checked.out
    first = next(root.rglob("*Allen_0_0.jpeg"))
    first.write_bytes(b"other")
    next(root.rglob("*Allen_1_1.jpeg")).unlink()
    checked = mibench("data", "check", "facescrub")
    assert checked.code == 1
    assert "Woody_Allen_0_0.jpeg: it holds other bytes now" in checked.out
    assert "Woody_Allen_1_1.jpeg: it cannot be read: No such file" in checked.out
    assert "2 files are not what they were" in checked.out


def test_settings_go_to_the_dataset(mibench, tmp_path):
    root = celeba(tmp_path / "copy")
    refused = mibench("data", "prepare", "celeba", "--from", str(root))
    assert refused.code != 0
    assert "is not the official file" in refused.err
    words = ("--set", "official=false", "--set", "people=6")
    made = mibench("data", "prepare", "celeba", "--from", str(root), *words, "--json")
    assert made.code == 0
    told = json.loads(made.out)
    assert (told["images"], told["facts"]["crop"], told["missing"]) == (47, "hd", [])
    assert set(told["classes"]) == {f"identity {person}" for person in range(1, 7)}
    assert mibench("data", "prepare", "celeba", *words).code in (0, 1)


def test_a_folder_that_is_not_there(mibench, tmp_path):
    made = mibench("data", "prepare", "facescrub", "--from", str(tmp_path / "nowhere"))
    assert made.code != 0
    assert "expected a folder with the dataset" in made.err


def test_a_dataset_without_copies_says_so(mibench, tmp_path):
    made = mibench("data", "prepare", "orl", "--from", str(tmp_path))
    assert made.code == 2
    assert "there is nothing to prepare" in made.err


def test_a_folder_of_images_is_checked(mibench, tmp_path):
    root = write_photos(tmp_path / "root", ["a", "b"], 25)
    fine = mibench("data", "check", "image-folder", "--set", f"root={root}")
    assert (fine.code, "found    50 images of 2 classes" in fine.out) == (0, True)
    for number in range(25):
        (root / "b" / f"{number}.png").write_bytes(b"<html>")
    wrong = mibench("data", "check", "image-folder", "--set", f"root={root}")
    assert wrong.code == 1
    assert "25 files" in wrong.out
    assert "and 5 more" in wrong.out
    assert mibench("data", "check", "image-folder", "--set", f"root={root}", "--all").out.count("HTML page") > 40
    assert mibench("data", "check", "image-folder").code == 1
