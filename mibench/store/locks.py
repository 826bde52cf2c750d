"""Locks between processes: those of the system, or files whose existence is the lock where the system has none."""

from __future__ import annotations

import contextlib
import errno
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows has locks of its own
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
PATIENCE_S = 10.0
_log = logging.getLogger(__name__)
PROBING = _log.getChild("probe")
"""What says that there are no locks; once is enough, so worker processes silence it."""


class Locks:
    """Locks by name, in a folder that processes share.

    The system releases a lock when its process ends, however it ends. Some network file systems have no locks; there,
    a file with the holder's process and host is one, and who finds that this process of this host is gone takes over.

    Lock files of the first kind stay. They are empty, one per artifact, and removing them is a race: a process that has
    opened a file and not locked it yet would lock what has no name any more, while another makes and locks a new one.

    Args:
        folder: must exist when a lock is taken.
        warn: say so if the system has no locks there.
    """

    def __init__(self, folder: Path, *, warn: bool = True) -> None:
        self.folder, self.warn = folder, warn
        self._soft: bool | None = None

    def probe(self) -> None:
        """Find out whether the folder can be written and which locks it has. Raises ``OSError`` if it cannot."""
        with tempfile.TemporaryFile(dir=self.folder) as file:
            if self._soft is None:
                self._soft = not _lockable(file.fileno())
                if self._soft and self.warn:
                    PROBING.warning(
                        "%s: this file system has no locks. Files take their place; if the machine of a run goes down,"
                        " remove what it left in there.",
                        self.folder,
                    )

    @contextmanager
    def hold(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a lock.

        Args:
            name: file name in the folder.
            wait: wait for who holds it, as long as it takes.

        Yields:
            Whether it is held; always, after waiting.

        Raises:
            OSError: if the lock's file cannot be made or opened.
        """
        lock = self._lock(name)
        held = self._acquire(lock, PATIENCE_S if wait else 0)
        if wait and not held:
            _log.warning("waiting for another process, which makes the same%s", self._holder(lock))
            held = self._acquire(lock, -1)
        try:
            yield held
        finally:
            if held:
                lock.release()

    def _lock(self, name: str) -> BaseFileLock:
        if self._soft is None:
            self.probe()
        # As shared as the folder: whoever may make a lock there must be able to open those of others.
        mode = self.folder.stat().st_mode & 0o666
        if self._soft:  # under another name, because the other kind leaves its files behind
            return SoftFileLock(self.folder / f"{name}.held", mode=mode)
        return FileLock(self.folder / name, mode=mode)

    def _acquire(self, lock: BaseFileLock, timeout: float) -> bool:
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            return False
        return True

    def _holder(self, lock: BaseFileLock) -> str:
        if not self._soft:
            return ""
        with contextlib.suppress(OSError, ValueError):
            process, host = Path(lock.lock_file).read_text(encoding="utf-8").split()[:2]
            return f": process {process} on {host}; if that is gone, remove {lock.lock_file}"
        return f"; if it is gone, remove {lock.lock_file}"


def _lockable(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True
