"""Croissant 1.0 metadata of a dataset: terms, paper, classes, and the SHA-256 of its files where they are known.

The photographs themselves are in none of these files. Names of files and people of a user's copy are not either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mibench.base.csv_text import csv_text
from mibench.exchange.croissant import CONTEXT, table_file

_TYPES = {".pgm": "image/x-portable-graymap", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
_COLUMNS = {
    "class": ("sc:Integer", "number of the class (a person, a breed, a digit), from 0"),
    "images": ("sc:Integer", "images of the class; empty if that is not known without reading them"),
    "file": ("sc:Text", "path below the folder of the dataset"),
    "sha256": ("sc:Text", "SHA-256 of the file's bytes"),
    "part": ("sc:Text", "what the image is for, where the dataset has a split: train, val, test or unused"),
}


@dataclass(frozen=True)
class DatasetFile:
    """One file of a dataset.

    Attributes:
        label: its class.
        sha256: of its bytes.
        name: path below the dataset's folder; empty where it is not to be told.
        part: what it is for; empty if the protocol decides.
    """

    label: int
    sha256: str
    name: str = ""
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class DescribedDataset:
    """A dataset as others are to see it.

    Attributes:
        name: registered name.
        version: of its numbers.
        summary: one line.
        licence: address of its terms, or words.
        paper: BibTeX; empty if there is none.
        source: where its files come from, one sentence.
        params: settings that it was described with.
        images: number of images of each class; ``None`` where it is not known.
        files: its files, where their digests are known.
    """

    name: str
    version: str
    summary: str
    licence: str
    paper: str
    source: str
    params: Mapping[str, Any]
    images: Sequence[int | None]
    files: Sequence[DatasetFile]


def dataset_croissant(dataset: DescribedDataset, *, url: str, date: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file: tables of classes and files, then ``croissant.json``, which describes both.

    Args:
        dataset: what is described.
        url: address of the folder of these files with a slash at its end; empty if it is not known.
        date: of the description, ``YYYY-MM-DD``.
    """
    tables = dict(_tables(dataset))
    yield from tables.items()
    sets = [_file_set(kind, includes) for kind, includes in _kinds(dataset.files).items()]
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": dataset.name,
        "description": _description(dataset),
        "url": url or f"urn:mibench:dataset:{dataset.name}",
        "version": f"{dataset.version}.0.0" if dataset.version.isdecimal() else dataset.version,
        "license": dataset.licence,
        "datePublished": date,
        **({"citeAs": dataset.paper} if dataset.paper else {}),
        "distribution": [*(table_file(name, text, url) for name, text in tables.items()), *sets],
        "recordSet": [*(_table(name, text) for name, text in tables.items()), *map(_images, sets)],
    }
    yield "croissant.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _description(dataset: DescribedDataset) -> str:
    known = [number for number in dataset.images if number is not None]
    counted = f"{len(dataset.images)} classes" if dataset.images else ""
    counted += f", {sum(known)} images" if known and len(known) == len(dataset.images) else ""
    settings = f"settings {json.dumps(dict(dataset.params), sort_keys=True)}" if dataset.params else ""
    parts = [dataset.summary, counted, settings, dataset.source, "no image is part of this description"]
    return ". ".join(part[:1].upper() + part[1:].rstrip(".") for part in parts if part) + "."


def _tables(dataset: DescribedDataset) -> Iterator[tuple[str, str]]:
    if dataset.images:
        yield "classes.csv", csv_text(("class", "images"), enumerate(dataset.images))
    if dataset.files:
        rows = [(one.label, one.name, one.sha256, one.part) for one in dataset.files]
        used = [place for place in range(4) if place in (0, 2) or any(row[place] for row in rows)]
        names = ("class", "file", "sha256", "part")
        yield "files.csv", csv_text([names[place] for place in used], ([row[place] for place in used] for row in rows))


def _kinds(files: Sequence[DatasetFile]) -> dict[str, list[str]]:
    """Return patterns of file names by their media type."""
    found: dict[str, dict[str, None]] = {}
    for suffix in (PurePosixPath(one.name).suffix for one in files if one.name):
        if suffix.lower() in _TYPES:
            found.setdefault(_TYPES[suffix.lower()], {})[f"**/*{suffix}"] = None
    return {kind: list(patterns) for kind, patterns in found.items()}


def _file_set(kind: str, includes: list[str]) -> dict[str, Any]:
    name = f"images-{kind.rpartition('/')[2]}"
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": kind, "includes": includes}


def _table(name: str, text: str) -> dict[str, Any]:
    stem = name.partition(".")[0]
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{stem}/{column}",
            "name": column,
            "description": _COLUMNS[column][1],
            "dataType": _COLUMNS[column][0],
            "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
        }
        for column in text.partition("\n")[0].split(",")
    ]
    return {"@type": "cr:RecordSet", "@id": stem, "name": stem, "field": fields}


def _images(files: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{files['name']}-content"

    def field(title: str, kind: str, part: str) -> dict[str, Any]:
        source = {"fileSet": {"@id": files["@id"]}, "extract": {"fileProperty": part}}
        return {"@type": "cr:Field", "@id": f"{name}/{title}", "name": title, "dataType": kind, "source": source}

    fields = [field("file", "sc:Text", "fullpath"), field("image", "sc:ImageObject", "content")]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}
