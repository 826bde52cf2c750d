"""The folders that results go to: tried before hours of work, one run's alone, and explained when they fill."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from mibench.api.errors import MibenchError, UsageError
from mibench.store.locks import Locks
from mibench.store.trouble import reason

RUNS = Path("mibench-runs")
LOCK = ".mibench.lock"


@contextmanager
def output_folder(asked: Path | None) -> Iterator[Path]:
    """Yield the folder of a run; no other run writes to it meanwhile.

    Args:
        asked: what was asked for, new or not; ``None`` for a new folder ``mibench-runs/<time>``.

    Raises:
        UsageError: if it cannot be written, or another run that still goes on writes to it.
    """
    folder = _new_folder() if asked is None else prepare(asked, "--output")
    held = ExitStack()
    try:
        free = held.enter_context(Locks(folder, warn=False).hold(LOCK, wait=False))
    except OSError as error:
        raise _unwritable(folder, "--output", error) from error
    with held:
        if not free:
            raise UsageError(
                f"{folder} belongs to another run that still goes on. Wait for it, or choose another with --output."
            )
        yield folder


def prepare(folder: Path, option: str) -> Path:
    """Make a folder that results go to unless it is there.

    Raises:
        UsageError: if nothing can be written to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, option, error) from error
    return folder


@contextmanager
def explaining(folders: Mapping[str, Path | None]) -> Iterator[None]:
    """Explain what goes wrong while results are written.

    Args:
        folders: option to folder. Errors elsewhere pass.

    Raises:
        MibenchError: instead of ``OSError``.
    """
    try:
        yield
    except OSError as error:
        for option, folder in folders.items():
            if folder is not None and isinstance(error.filename, str) and Path(error.filename).is_relative_to(folder):
                raise MibenchError(
                    f"cannot write {error.filename}: {reason(error, folder, option)}. What was computed stays in the"
                    " store; the same command goes on from there."
                ) from error
        raise


def _new_folder() -> Path:
    """Make a folder that nobody else has: several runs may start in the same second."""
    name = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H-%M-%S")
    prepare(RUNS, "--output")
    for number in count(2):
        folder = RUNS / name
        try:
            folder.mkdir()
            break
        except FileExistsError:
            name = f"{name.partition('_')[0]}_{number}"
        except OSError as error:
            raise _unwritable(folder, "--output", error) from error
    return folder


def _unwritable(folder: Path, option: str, error: OSError) -> UsageError:
    return UsageError(f"cannot write to {folder}: {error.strerror}. Choose another with {option}.")
