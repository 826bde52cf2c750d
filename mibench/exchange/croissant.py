"""Croissant 1.0 metadata of a board's tables: what the files are, their sha256, and what each column holds."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mibench.leaderboard.board import ProtocolBoard

_OWN = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{word: f"cr:{word}" for word in _OWN.split()},
}
"""The context that Croissant 1.0 recommends."""
_WORDS = {
    "person": "identity in the data set, the same in all seeds and folds",
    "seed": "target seed",
    "attack": "attack, with its preset",
    "record_digest": "digest of the record that holds the value",
}
_TEXT = {"protocol", "model", "defense", "attack", "attack_access", "note", "flags", "attacks", "seeds", "worst_attack"}


def croissant(section: ProtocolBoard, tables: Mapping[str, str], *, url: str, date: str, bibtex: str) -> str:
    """Return the JSON-LD.

    Args:
        section: the board.
        tables: CSV by file name.
        url: address of the board with a slash at its end; empty if it is not known.
        date: of publication.
        bibtex: how to cite the board.
    """
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"mibench {section.protocol}",
        "description": f"Model inversion against defenses: {section.summary}. Leakage is {section.headline}. One line "
        "for each row of the board, and one for each person of each record. No photographs and no reconstructions.",
        "url": url or "urn:mibench:" + section.protocol,
        "version": section.protocol.partition("@")[2] + ".0",
        "license": "https://spdx.org/licenses/MIT.html",
        "datePublished": date,
        "citeAs": bibtex,
        "distribution": [table_file(name, text, url) for name, text in tables.items()],
        "recordSet": [_record_set(name, text) for name, text in tables.items()],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def table_file(name: str, text: str, url: str) -> dict[str, Any]:
    """Return the ``FileObject`` of a CSV file, with its size and sha256.

    Args:
        name: of the file.
        text: its content.
        url: address of its folder, with a slash at the end; empty beside the metadata.
    """
    data = text.encode("utf-8")
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": url + name,
        "contentSize": f"{len(data)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _record_set(name: str, text: str) -> dict[str, Any]:
    lines = list(csv.DictReader(text.splitlines()))
    columns = list(lines[0]) if lines else next(csv.reader(text.splitlines()), [])
    stem = name.partition(".")[0]
    return {
        "@type": "cr:RecordSet",
        "@id": stem,
        "name": stem,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{stem}/{column}",
                "name": column,
                **({"description": _WORDS[column]} if column in _WORDS else {}),
                "dataType": _type(column, [line[column] for line in lines]),
                "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
            }
            for column in columns
        ],
    }


def _type(column: str, values: list[str]) -> str:
    """Return the type of a column: a number where all values that are there are numbers."""
    found = [value for value in values if value]
    try:
        numbers = [float(value) for value in found]
    except ValueError:
        return "sc:Text"
    if column in _TEXT or column.endswith("digest") or not numbers:
        return "sc:Text"
    return "sc:Integer" if all(value.isdecimal() for value in found) else "sc:Float"
