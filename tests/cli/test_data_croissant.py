"""Croissant of datasets: files as they are, terms and papers of the plugin, nothing of this machine.

All nine datasets of mibench-datasets passed ``mlcroissant validate`` (1.1.0) when this was written; what it asks for is
checked here by hand, since that library is no dependency.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mibench.api.copies import CopiedImage, Copy, copy_file
from mibench.cli.croissant import described
from mibench.cli.main import main
from mibench.exchange.dataset_croissant import DatasetFile, DescribedDataset, dataset_croissant
from mibench.registry.registry import load_registry


def made(tmp_path: Path, name: str, *more: str) -> tuple[dict[str, Any], Path]:
    out = tmp_path / name
    assert main(["data", "croissant", name, "--out", str(out), "--date", "2026-11-29", *more]) == 0
    return json.loads((out / "croissant.json").read_text(encoding="utf-8")), out


def ids(content: Any) -> list[str]:
    """Return every ``@id`` that is defined, which is one with a ``@type`` beside it."""
    if isinstance(content, dict):
        own = [content["@id"]] if "@id" in content and str(content.get("@type", "")).startswith("cr:") else []
        return own + [one for key, value in content.items() if key != "@context" for one in ids(value)]
    return [one for value in content for one in ids(value)] if isinstance(content, list) else []


def sources(content: dict[str, Any]) -> set[str]:
    fields = [field["source"] for group in content["recordSet"] for field in group["field"]]
    return {source[kind]["@id"] for source in fields for kind in ("fileObject", "fileSet") if kind in source}


def test_orl_with_all_its_files(tmp_path: Path) -> None:
    content, out = made(tmp_path, "orl", "--url", "https://data.example/orl")
    lines = list(csv.DictReader((out / "files.csv").read_text(encoding="utf-8").splitlines()))
    assert len(lines) == 400
    assert lines[10]["class"] == "1"
    assert lines[10]["file"] == "s2/1.pgm"
    pinned = (Path(__file__).parents[2] / "plugins/mibench-datasets/mibench_datasets/orl.sha256").read_text()
    assert {f"{line['sha256']}  {line['file']}" for line in lines} == set(pinned.splitlines())
    assert content["license"].startswith("LicenseRef-ATT-ORL: ")
    assert "samaria1994parameterisation" in content["citeAs"]
    assert "40 classes, 400 images" in content["description"]
    for one in content["distribution"]:
        if one["@type"] == "cr:FileObject":
            assert one["sha256"] == hashlib.sha256((out / one["name"]).read_bytes()).hexdigest()
            assert one["contentUrl"] == f"https://data.example/orl/{one['name']}"
        else:
            assert one["includes"] == ["**/*.pgm"]
    found = ids(content)
    assert len(found) == len(set(found))
    assert sources(content) <= set(found)


@pytest.mark.parametrize("name", [entry.name for entry in load_registry().entries("dataset")])
def test_every_installed_dataset_has_what_croissant_demands(tmp_path: Path, name: str) -> None:
    content, out = made(tmp_path, name)
    assert content["@type"] == "sc:Dataset"
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    for demanded in ("name", "description", "license", "url", "version", "datePublished"):
        assert content[demanded], demanded
    assert {path.name for path in out.iterdir()} == {"croissant.json", *(
        one["name"] for one in content["distribution"] if one["@type"] == "cr:FileObject")}  # fmt: skip
    assert str(Path.home()) not in (out / "croissant.json").read_text(encoding="utf-8")


def test_settings_are_described(tmp_path: Path) -> None:
    content, out = made(tmp_path, "rendered-faces", "--set", "identities=3", "--set", "images_per_identity=5")
    assert (out / "classes.csv").read_text(encoding="utf-8") == "class,images\n0,5\n1,5\n2,5\n"
    assert '"identities": 3' in content["description"]
    assert content["license"] == "https://spdx.org/licenses/CC0-1.0.html"


def test_a_prepared_copy_tells_digests_and_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIBENCH_DATA", str(tmp_path / "data"))
    images = [CopiedImage("ab" * 32, "Some Body/1.jpg", "train"), CopiedImage("cd" * 32, "Some Body/2.jpg", "test")]
    Copy("stanford-dogs", tmp_path / "dogs", {"Some Body": images}).write(copy_file("stanford-dogs").parent)
    registry = load_registry()
    dataset = registry.component("dataset", "orl")()
    entry = registry.get("dataset", "stanford-dogs")
    monkeypatch.setattr(type(dataset), "files", lambda _: {})
    text = "".join(text for _, text in dataset_croissant(described(entry, dataset)[0], url="", date="2026-11-29"))
    assert f"0,{'ab' * 32},train" in text
    assert "Some Body" not in text
    assert "dogs/" not in text


def test_foreign_text_stays_text() -> None:
    bad = '"}], "license": "none", "\u2028'
    dataset = DescribedDataset(
        name="x", version="1", summary=bad, licence=bad, paper=bad, source=bad, params={"a": bad}, images=[2],
        files=[DatasetFile(0, "0" * 64, 'a,"b\n.jpg'), DatasetFile(0, "1" * 64, "c.png")],
    )  # fmt: skip
    files = dict(dataset_croissant(dataset, url="", date="2026-11-29"))
    content = json.loads(files["croissant.json"])
    assert content["license"] == bad
    assert [row["file"] for row in csv.DictReader(files["files.csv"].splitlines(keepends=True))][1] == "c.png"
    assert [one["includes"] for one in content["distribution"][2:]] == [["**/*.jpg"], ["**/*.png"]]


def test_an_unknown_dataset_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "croissant", "orls", "--out", str(tmp_path / "x")]) == 2
    assert "Did you mean 'orl'" in capsys.readouterr().err
