"""``facescrub`` against small copies in every layout, and every fault that real copies have."""

import hashlib
import json
import unicodedata

import numpy as np
import pytest
import torch
from mibench_datasets.facescrub import FaceScrub
from mibench_datasets.facescrub_people import class_of
from mibench_datasets.pictures import survey
from official_copies import ACTORS, ACTRESSES, CLASSES, facescrub
from picture_files import encoded, photo, write
from PIL import Image

from mibench.api import DataError, read_copy
from mibench.testing import DatasetContract

FORMER, LATTER = ACTORS + ACTRESSES, CLASSES


def prepared(root, where, **options):
    copy = FaceScrub().prepare(root, where / "work", **options)
    return copy, copy.write(where)


class TestContract(DatasetContract):
    component = FaceScrub
    size = 12

    @pytest.fixture(autouse=True)
    def _copy(self, tmp_path):
        _, path = prepared(facescrub(tmp_path / "root", count=2), tmp_path / "made")
        type(self).settings = {"copy": str(path), "people": "present"}


@pytest.mark.parametrize("layout", ["ppa", "kaggle", "resized"])
@pytest.mark.parametrize("deeper", ["", "facescrub"])
def test_layouts_in_circulation(tmp_path, layout, deeper):
    facescrub(tmp_path / "root" / deeper, layout, count=2)
    copy, path = prepared(tmp_path / "root", tmp_path / "made")
    assert len(copy.classes) == 530
    assert {k for k, images in enumerate(copy.classes.values()) if images} == set(CLASSES)
    assert [list(copy.classes)[k] for k in CLASSES] == list(FORMER)
    dataset = FaceScrub(copy=str(path))
    assert (dataset.num_identities(), dataset.num_images(238)) == (530, None)  # 524 people are missing
    assert FaceScrub(copy=str(path), people="present").num_images(1) == 2
    assert dataset.groups()["sex"].count("actor") == 265
    data = dataset.load([529, 238], size=40, channels=3)
    assert data.labels_N.tolist() == [0, 0, 1, 1]
    expected = Image.open(next(iter(sorted((tmp_path / "root").rglob("*Deschanel*_0_0.jpeg")))))
    np.testing.assert_array_equal(data.pixels(torch.tensor([0]))[0].permute(1, 2, 0), np.asarray(expected))


def test_equal_files_in_another_place_and_layout_are_the_same_copy(tmp_path):
    one, _ = prepared(facescrub(tmp_path / "one", count=3), tmp_path / "made one")
    other, _ = prepared(facescrub(tmp_path / "two words", "kaggle", count=3), tmp_path / "made other")
    assert one.digest == other.digest
    assert one.content() == other.content()
    first = next((tmp_path / "one").rglob("*.jpeg"))
    write(first, encoded(photo(99999, (40, 40)), "JPEG"))
    assert prepared(tmp_path / "one", tmp_path / "made one")[0].digest != other.digest


NAMES = {
    "Adrianne_Le\u00f3n": 265,
    unicodedata.normalize("NFD", "Adrianne_Le\u00f3n"): 265,
    "Adrianne Le\u00f3n": 265,
    "Adrianne_Leon": 265,
    "Adrianne_Leo\u2560\u00fcn": 265,  # NFD in UTF-8, read as code page 437
    "Adrianne_Le\u00c3\u00b3n": 265,  # UTF-8 read as Latin-1
    "Adrianne_Le\udca2n": 265,  # code page 437, not decoded
    "Adrianne_Le" + "\udcf3" + "n": 265,  # Latin-1, not decoded
    "Robert_Downey_Jr.": 238,
    "Robert_Downey_Jr_": 238,
    "Robert_Downey_Jr": 238,
    "Robert Downey Jr.": 238,
    "Freddy_Prinze_Jr_": 93,
    "Harry_Connick_Jr": 107,
    "Daniel_Day-Lewis": None,
    "Nobody_At_All": None,
    "__MACOSX": None,
}


@pytest.mark.parametrize("folder", NAMES)
def test_spellings_of_names(folder):
    found = class_of(folder)
    if NAMES[folder] is None:
        assert found is None or folder == "Daniel_Day-Lewis"
    else:
        assert found is not None
        assert found[0] == NAMES[folder]


def test_sorting_comes_after_normalising():
    """``Robert_Downey_Jr_`` sorts behind ``Robert_Downey_Jr.`` and an accent behind plain letters; classes do not."""
    jr = [class_of(name)[0] for name in ("Freddy_Prinze_Jr_", "Harry_Connick_Jr_", "Robert_Downey_Jr_")]
    assert jr == [93, 107, 238]


def test_the_digest_of_all_names_is_that_of_the_official_list(tmp_path):
    copy, _ = prepared(facescrub(tmp_path / "root", count=2), tmp_path / "made")
    assert "not all" in copy.facts["names"]  # six people only


def test_two_spellings_of_one_person_are_one_class(tmp_path):
    root = facescrub(tmp_path / "root", count=2)
    write(
        root / "actresses/faces" / unicodedata.normalize("NFD", ACTRESSES[0]) / "x_7_7.jpeg", encoded(photo(7), "JPEG")
    )
    copy, _ = prepared(root, tmp_path / "made")
    assert len(list(copy.classes.values())[265]) == 3
    assert [note.kind for note in copy.notes if "another spelling" in note.reason] == []  # NFC is the same name
    write(root / "actors/faces" / "Robert_Downey_Jr_" / "x_7_7.jpeg", encoded(photo(8), "JPEG"))
    copy, _ = prepared(root, tmp_path / "made")
    assert len(list(copy.classes.values())[238]) == 3
    assert any(note.kind == "renamed" for note in copy.notes)


def test_every_file_that_is_not_used_is_named(tmp_path):
    root = facescrub(tmp_path / "root", count=3)
    person = root / "actors/faces/Aaron_Eckhart"
    write(person / "Aaron_Eckhart_7_7.jpeg", b"<html>Image not found</html>")
    write(person / "Aaron_Eckhart_8_8.jpeg", encoded(photo(1, (90, 90)), "JPEG")[:700])
    write(person / "Aaron_Eckhart_9_9.jpeg", b"")
    write(person / "faces.npy", b"\x93NUMPY\x01\x00")
    write(person / ".DS_Store", b"x")
    write(root / "actors/faces/Peter_Nobody/x_1_1.jpeg", encoded(photo(1), "JPEG"))
    write(root / "actresses/faces/Zooey_Deschanel/copy_9_9.jpeg", (person / "Aaron_Eckhart_0_0.jpeg").read_bytes())
    copy, _ = prepared(root, tmp_path / "made")
    said = {note.name.rpartition("/")[2]: (note.kind, note.reason) for note in copy.notes}
    assert said["Aaron_Eckhart_7_7.jpeg"][1].startswith("it is an HTML page")
    assert "damaged" in said["Aaron_Eckhart_8_8.jpeg"][1]
    assert "empty" in said["Aaron_Eckhart_9_9.jpeg"][1]
    assert "numpy array" in said["faces.npy"][1]
    assert said[".DS_Store"][0] == "ignored"
    assert "no person of FaceScrub" in said["x_1_1.jpeg"][1]
    assert said["copy_9_9.jpeg"][0] == "duplicate"
    assert "another class (Aaron_Eckhart)" in said["copy_9_9.jpeg"][1]
    files = [path for path in root.rglob("*") if path.is_file()]
    named = {note.name for note in copy.notes if note.kind in ("unusable", "ignored")}
    assert copy.count + len(named) == len(files)


def test_whole_pictures_are_cut_by_the_lists(tmp_path):
    root = tmp_path / "root"
    image = encoded(photo(5, (80, 60)))
    write(root / "actors/images/Woody_Allen/Woody_Allen_17.png", image)
    write(root / "actors/images/Woody_Allen/Woody_Allen_18.png", encoded(photo(6)))
    write(root / "actors/images/Woody_Allen/Woody_Allen_19.png", encoded(photo(7)))
    digest = hashlib.sha256(image).hexdigest()
    lines = [
        "name\timage_id\tface_id\turl\tbbox\tsha256",
        f"Woody Allen\t17\t9\thttp://x\t10,5,50,45\t{digest}",
        f"Woody Allen\t18\t9\thttp://y\t900,900,990,990\t{digest}",
    ]
    write(root / "facescrub_actors.txt", "\n".join(lines).encode())
    copy, path = prepared(root, tmp_path / "made")
    data = FaceScrub(copy=str(path)).load([264], size=40, channels=3)
    assert len(data) == 1
    expected = np.asarray(photo(5, (80, 60)))[5:45, 10:50]
    np.testing.assert_array_equal(data.pixels(torch.tensor([0]))[0].permute(1, 2, 0), expected)
    said = {note.name.rpartition("_")[2]: note.reason for note in copy.notes}
    assert "lies outside" in said["18.png"]
    assert "lists have no line" in said["19.png"]


def test_a_picture_that_changed_since_the_list_was_made_is_noted(tmp_path):
    root = tmp_path / "root"
    write(root / "actors/images/Woody_Allen/Woody_Allen_17.png", encoded(photo(5)))
    head = "name\timage_id\tface_id\turl\tbbox\tsha256\n"
    write(root / "facescrub_actors.txt", f"{head}Woody Allen\t17\t9\thttp://x\t0,0,20,20\t{'0' * 64}\n".encode())
    copy, _ = prepared(root, tmp_path / "made")
    assert [note.kind for note in copy.notes] == ["other bytes"]
    write(root / "facescrub_actors.txt", b"name,image_id\nx,1\n")
    with pytest.raises(DataError, match="expected the columns"):
        FaceScrub().prepare(root, tmp_path / "work")


def test_the_split_is_that_of_the_papers_code(tmp_path):
    root = facescrub(tmp_path / "root", count=8)
    copy, path = prepared(root, tmp_path / "made")
    parts = FaceScrub(copy=str(path)).parts(CLASSES)
    np.random.seed(42)  # noqa: NPY002 - as the released code does
    indices = list(range(48))
    np.random.shuffle(indices)  # noqa: NPY002
    training, test = indices[: int(0.9 * 48)], indices[int(0.9 * 48) :]
    order = torch.randperm(43, generator=torch.Generator().manual_seed(42))
    held = 43 - int(0.8 * 43)
    assert {i for i, part in enumerate(parts) if part == "test"} == set(test)
    assert {i for i, part in enumerate(parts) if part == "val"} == {training[k] for k in order[-held:]}
    assert copy.parts() == {"train": 34, "val": 9, "test": 5}


def test_a_list_of_digests_takes_the_place_of_the_split(tmp_path):
    root = facescrub(tmp_path / "root", count=2)
    copy, _ = prepared(root, tmp_path / "made")
    images = [image for own in copy.classes.values() for image in own]
    text = "\n".join(f"{'train' if k % 2 else 'test'} {image.sha256}" for k, image in enumerate(images))
    again, _ = prepared(root, tmp_path / "made", split=write(tmp_path / "split.txt", text.encode()))
    assert again.parts() == {"train": 6, "test": 6}
    assert again.digest != copy.digest


def test_the_split_of_a_copy_can_be_given_to_others(tmp_path):
    root = facescrub(tmp_path / "root", count=3)
    same = next(root.rglob("*Allen_0_0.jpeg"))
    write(same.with_name("again.jpeg"), same.read_bytes())
    copy, path = prepared(root, tmp_path / "made")
    split = path.parent / "split.txt"
    again, _ = prepared(root, tmp_path / "elsewhere", split=split)
    assert again.digest == copy.digest
    assert len(split.read_text().splitlines()) == 1 + 19


def test_an_interrupted_look_continues(tmp_path, monkeypatch):
    root, looked = facescrub(tmp_path / "root", count=4), []
    honest = survey.examine

    def examine(content, suffix, *, exif):
        looked.append(content)
        if len(looked) == 11:
            raise KeyboardInterrupt
        return honest(content, suffix, exif=exif)

    monkeypatch.setattr(survey, "CHUNK", 5)
    monkeypatch.setattr(survey, "examine", examine)
    with pytest.raises(KeyboardInterrupt):
        prepared(root, tmp_path / "made")
    told = []
    copy, _ = prepared(root, tmp_path / "made", told=lambda done, total: told.append((done, total)))
    assert len(looked) == 11 + 24 - 10  # two chunks of five were kept
    assert told[-1] == (24, 24)
    assert copy.digest == prepared(root, tmp_path / "elsewhere")[0].digest


def test_without_a_copy_it_says_how_to_get_one():
    assert "mibench data prepare facescrub --from FOLDER" in FaceScrub().missing()[0]
    assert FaceScrub().num_identities() == 530
    assert FaceScrub().num_images(3) is None
    with pytest.raises(DataError, match="no copy was prepared"):
        FaceScrub().load([0], size=8, channels=3)


def test_people_whom_a_copy_lacks_are_counted(tmp_path):
    _, path = prepared(facescrub(tmp_path / "root", count=1), tmp_path / "made")
    assert "pictures of 524 of 530 people" in FaceScrub(copy=str(path)).missing()[0]
    present = FaceScrub(copy=str(path), people="present")
    assert (present.missing(), present.num_identities()) == ([], 6)
    with pytest.raises(DataError, match="no usable image of class 1"):
        FaceScrub(copy=str(path)).load([1], size=8, channels=3)


def test_a_folder_that_is_no_copy(tmp_path):
    write(tmp_path / "pictures" / "x.jpg", b"")
    with pytest.raises(DataError, match="is no copy of FaceScrub"):
        FaceScrub().prepare(tmp_path, tmp_path / "work")


def test_a_description_that_was_edited_is_refused(tmp_path):
    copy, path = prepared(facescrub(tmp_path / "root", count=1), tmp_path / "made")
    assert read_copy(path) == copy
    raw = json.loads(path.read_text())
    raw["classes"][0]["images"][0][1] = "test"
    path.write_text(json.dumps(raw))
    with pytest.raises(DataError, match="was not written together"):
        FaceScrub(copy=str(path)).missing()


def test_the_journal_survives_a_cut_line(tmp_path):
    root = facescrub(tmp_path / "root", count=1)
    copy, _ = prepared(root, tmp_path / "made")
    seen = tmp_path / "made" / "work" / "seen.jsonl"
    seen.write_bytes(seen.read_bytes()[:-40])
    assert prepared(root, tmp_path / "made")[0].digest == copy.digest
