"""Check files and folders by the rules of the boards, wherever they lie: all that is wrong, at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.leaderboard.batch import Batch, DamagedEntryError, Recheck
from mibench.leaderboard.layout import boards
from mibench.leaderboard.verify import Checked, unreadable, verify
from mibench.results.io import RecordError, load_record


def check_paths(
    paths: Sequence[Path],
    folder: Path,
    texts: Mapping[str, str] | None = None,
    recheck: Recheck | None = None,
) -> Iterator[Checked]:
    """Yield every file below some paths with what is wrong about it. Nothing is written.

    Where an entry of their board is damaged, records cannot be compared with it: for each, that entry is yielded.

    Args:
        paths: record files, folders of them, leaderboards folders, or the folder of one board.
        folder: the leaderboards folder on which records that lie elsewhere would go.
        texts: YAML of installed protocols by ``name@version``, for boards that do not exist yet.
        recheck: rules that need the installed components.

    Raises:
        UsageError: for a folder without any JSON file.
    """
    batch = Batch(folder, texts or {}, recheck)
    for path in paths:
        if path.is_dir() and boards(path):
            yield from verify(path, None, recheck)
        elif path.is_dir() and (path / "protocol.yaml").is_file():
            whole = path.resolve()
            yield from verify(whole.parent.parent, f"{whole.parent.name}@{whole.name}", recheck)
        else:
            yield from (_one(file, batch) for file in record_files(path))


def record_files(path: Path) -> list[Path]:
    """Return a file itself, or the JSON files below a folder, in order.

    Raises:
        UsageError: for a folder without any.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*.json") if not file.name.startswith("."))
    if not found:
        raise UsageError(f"{path} holds no record; expected JSON files, or a leaderboards folder")
    return found


def _one(path: Path, batch: Batch) -> Checked:
    try:
        return Checked(path, batch.consider(load_record(path)))
    except DamagedEntryError as error:
        return Checked(error.path, [unreadable(error, error.path)])
    except RecordError as error:
        return Checked(path, [unreadable(error, path)])
