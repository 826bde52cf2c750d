"""The dataset ``two-folders``, against pictures that the test wrote itself."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mibench_datasets.two_folders import TwoFolders
from PIL import Image

from mibench.api import DataError


def write(folder: Path, names: dict[str, int], start: int = 0) -> Path:
    """Write pictures of one colour each; the colour tells whose it is."""
    for place, (name, count) in enumerate(names.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            colour = (start + 20 * place, 10 * number, 7)
            Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture()
def folders(tmp_path: Path) -> dict[str, str]:
    return {
        "private": str(write(tmp_path / "private", {"bea": 4, "ann": 5})),
        "heldout": str(write(tmp_path / "heldout", {"ann": 2, "bea": 1}, start=100)),
        "public": str(write(tmp_path / "public", {"zoe": 2, "ann": 3, "yan": 1}, start=160)),
    }


def test_private_people_come_first_and_then_public_ones(folders: dict[str, str]) -> None:
    dataset = TwoFolders(**folders)
    assert dataset.class_names() == ["ann", "bea", "ann", "yan", "zoe"]
    assert dataset.groups() == {"folder": ["private"] * 2 + ["public"] * 3}
    assert [dataset.num_images(k) for k in range(5)] == [7, 5, 3, 1, 2]
    assert dataset.missing() == []


def test_images_are_those_of_the_people_who_are_asked_for(folders: dict[str, str]) -> None:
    dataset = TwoFolders(**folders)
    images = dataset.load([1, 4], size=8, channels=3)
    assert images.labels_N.tolist() == [0] * 5 + [1] * 2
    red = images.pixels(torch.arange(7))[:, 0, 0, 0].tolist()
    assert red == [0] * 4 + [120] + [160] * 2  # bea is written first in private, second in heldout, zoe first in public
    assert dataset.parts([1, 4]) == ["train"] * 4 + ["test"] + ["train"] * 2


def test_without_a_held_out_folder_a_share_of_each_person_is_set_aside(folders: dict[str, str]) -> None:
    del folders["heldout"]
    dataset = TwoFolders(**folders, heldout_share=0.4)
    assert Counter(dataset.parts([0])) == {"train": 3, "test": 2}
    assert Counter(dataset.parts([1])) == {"train": 2, "test": 2}
    images = dataset.load([0], size=8, channels=3)
    files = sorted(
        (Path(folders["private"]) / "ann").iterdir(), key=lambda p: hashlib.sha256(p.read_bytes()).hexdigest()
    )
    aside = {int(np.asarray(Image.open(file))[0, 0, 1]) for file in files[:2]}
    held = {int(value) for value in images.pixels(torch.tensor([3, 4]))[:, 1, 0, 0]}
    assert held == aside


def test_what_is_missing_is_said(folders: dict[str, str], tmp_path: Path) -> None:
    assert TwoFolders().missing() == [
        "a folder of private people; start with: mibench audit --private FOLDER --public FOLDER",
        "a folder of public people; start with: mibench audit --private FOLDER --public FOLDER",
    ]
    with pytest.raises(DataError, match="dataset 'two-folders': a folder of private people"):
        TwoFolders().load([], size=8, channels=3)
    other = write(tmp_path / "other", {"ann": 1, "eve": 1})
    lines = TwoFolders(**{**folders, "heldout": str(other)}).missing()
    assert lines[0].endswith("has folders of people who are not in " + folders["private"] + ": eve")
    assert lines[1].endswith("has no folder for some people of " + folders["private"] + ": bea")
    (Path(folders["public"]) / "zoe" / "bad.jpg").write_text("<html>")
    assert any("bad.jpg: it is an HTML page" in line for line in TwoFolders(**folders).missing())
    assert any(note.name == "public: zoe/bad.jpg" for note in TwoFolders(**folders).notes())
