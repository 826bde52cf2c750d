"""Reading the files that users give: ordinary ones, of a sensible size, in UTF-8."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from mibench.api.errors import UsageError
from mibench.protocol.strict_yaml import MAX_BYTES, parse_yaml


def read_yaml(path: Path, what: str) -> tuple[Any, str]:
    """Return what a YAML file says, and its text.

    Args:
        path: the file; ``~`` is expanded.
        what: what messages call it, e.g. ``"the matrix file"``.

    Raises:
        UsageError: if it cannot be read, is no ordinary file of sensible size, is not UTF-8, or as :func:`parse_yaml`.
    """
    text = read_text(path, what)
    return parse_yaml(text, str(path)), text


def read_text(path: Path, what: str) -> str:
    """Return the text of an ordinary UTF-8 file of sensible size (a byte order mark is dropped).

    Raises:
        UsageError: if it is anything else.
    """
    try:
        file = path.expanduser()
        # A pipe would wait for a writer that may never come.
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"Cannot read {what} {path}: expected an ordinary file, got another kind of thing.")
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such file, no home folder, a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Cannot read {what} {path}: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"Cannot read {what} {path}: it has more than {MAX_BYTES} bytes.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(f"Cannot read {what} {path}: line {line} is not UTF-8 text; save the file as UTF-8.") from None
