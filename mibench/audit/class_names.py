"""Which output of a network is which person."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from mibench.api.errors import UsageError

SHOWN = 4


def outputs_of(classes: Path | None, folders: Sequence[str]) -> list[int]:
    """Return for each folder which output of the network answers for it; empty if they are in the same order.

    Args:
        classes: text file with one name a line, in the order of the outputs; ``None`` if that is the folders' order.
        folders: names of the folders, in order.

    Raises:
        UsageError: if the file cannot be read, or names other people than there are folders.
    """
    if classes is None:
        return []
    names = _read(classes)
    position = {name: output for output, name in enumerate(names)}
    wanted = [_same(folder) for folder in folders]
    if len(position) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"--classes {classes}: {twice!r} stands there twice")
    without, unknown = [n for n in names if n not in wanted], [n for n in wanted if n not in position]
    if without or unknown:
        told = [f"it names {len(names)} classes, and there are {len(folders)} folders of private people"]
        told += [f"no folder for {_some(without)}"] if without else []
        told += [f"no line for {_some(unknown)}"] if unknown else []
        raise UsageError(f"--classes {classes}: {'; '.join(told)}")
    order = [position[name] for name in wanted]
    return [] if order == sorted(order) else order


def _read(file: Path) -> list[str]:
    try:
        text = file.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {file} cannot be read as text: {error}") from error
    return [_same(line.strip()) for line in text.splitlines() if line.strip()]


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more
