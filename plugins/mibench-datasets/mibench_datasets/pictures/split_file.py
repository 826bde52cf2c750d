"""A text file that says which image is for training, validation or test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mibench.api import PARTS, DataError

_LINE = re.compile(r"(\S+)\s+(\S.*)")


def read_split(path: Path) -> dict[str, str]:
    """Return the part of each image that a split file lists.

    One line per image: ``train``, ``val``, ``test`` or ``unused``, then its SHA-256 or its path below the root. Empty
    lines and those that begin with ``#`` say nothing.

    Raises:
        DataError: for a file that cannot be read, another part, or an image that stands in two parts.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the split file {path} cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] not in PARTS:
            wanted = ", ".join(PARTS)
            raise DataError(f"{path}, line {number}: expected one of {wanted} and an image, got {line.strip()!r}")
        part, image = match[1], match[2]
        if found.setdefault(image, part) != part:
            raise DataError(f"{path}, line {number}: {image} is in two parts, {found[image]} and {part}")
    return found


def parts_of(split: Mapping[str, str], images: Sequence[tuple[str, str]], source: str) -> list[str]:
    """Return the part of each image.

    Args:
        split: part by SHA-256 or name.
        images: name and SHA-256 of each.
        source: the split file, for errors.

    Raises:
        DataError: if an image is not listed, or what is listed is not there.
    """
    listed, parts, missed = set(split), [], []
    for name, sha256 in images:
        part = split.get(name, split.get(sha256))
        listed -= {name, sha256}
        missed += [] if part else [name]
        parts.append(part or "")
    if missed:
        raise DataError(
            f"the split file {source} lists no part for {len(missed)} of {len(images)} images: "
            f"{', '.join(missed[:5])}; write a line for each ('unused' for those that take no part)"
        )
    if listed:
        raise DataError(
            f"the split file {source} lists {len(listed)} images that are not there or not usable: "
            f"{', '.join(sorted(listed)[:5])}"
        )
    return parts
