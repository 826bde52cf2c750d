"""Files that are written whole: readers see the old content or the new, and a crash leaves no half."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file so that readers see the old content or the new, whole and on disk, whatever happens.

    Raises:
        OSError: if it cannot be written; the old content then stays.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # a full disk does not say for which file
        raise
    sync_folder(path.parent)
    return path


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the system can: Windows opens no folder, some file systems flush none.

    Raises:
        OSError: if the disk fails.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
