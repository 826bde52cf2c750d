"""Files that parameters name: what counts is their bytes, so keys and records hold digests in the place of paths."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.api.files import sha256_of_file

PREFIX = "sha256:"


def digest_of_path(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file's bytes, or of names and bytes of all files of a folder (hidden ones apart).

    Raises:
        OSError: if it cannot be read.
    """
    if path.exists() and not path.is_dir() and not path.is_file():  # a pipe would wait, some devices never end
        raise OSError(errno.EINVAL, "it is no ordinary file")
    if not path.is_dir():
        return PREFIX + sha256_of_file(path)
    total = hashlib.sha256()
    for inside in sorted(_below(path)):
        name = inside.relative_to(path)
        if inside.is_file() and not any(part.startswith(".") for part in name.parts):
            total.update(f"{name.as_posix()}\0{sha256_of_file(inside)}\0".encode("utf-8", "surrogateescape"))
    return PREFIX + total.hexdigest()


def _below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files below a folder, through links to folders, which rglob does not follow; loops end."""
    real = folder.resolve()
    for inside in () if real in above else folder.iterdir():
        if inside.is_dir():
            yield from _below(inside, (*above, real))
        else:
            yield inside


def locate(value: str, files: Mapping[str, str]) -> str:
    """Return the path of what a digest stands for.

    Args:
        value: ``sha256:<hex>``.
        files: digest to path, as the plan found them.

    Raises:
        UsageError: if no such file was named, or if it has changed since.
    """
    path = files.get(value)
    if path is None:
        raise UsageError(f"the file with {value} is not known here; name its path again as when it was first used")
    try:
        now = digest_of_path(Path(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if now != value:
        raise UsageError(f"{path} has changed since this run was planned: it has {now}, expected {value}. Start again.")
    return path
