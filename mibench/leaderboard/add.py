"""Accept records onto a board: all of them or none, each checked, nothing ever overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mibench.api.errors import MibenchError
from mibench.leaderboard.batch import Batch, Recheck
from mibench.results.display import printable
from mibench.results.io import load_record
from mibench.store.locks import Locks


class RefusedError(MibenchError):
    """Records that a board does not accept; one line for each file and broken rule."""


def add_records(
    paths: Sequence[Path],
    folder: Path,
    protocol_texts: Mapping[str, str] | None = None,
    recheck: Recheck | None = None,
) -> list[Path]:
    """Check records and put them on their boards.

    A record whose numbers are already there is left alone. One whose cell is there with other numbers is refused.

    Args:
        paths: record files.
        folder: the leaderboards folder; it is made if need be.
        protocol_texts: YAML of protocols by ``name@version``; frozen beside the first entry of each.
        recheck: rules that need the installed components; asked about records that break no other rule.

    Returns:
        The entry of each record, in the order of ``paths``.

    Raises:
        RefusedError: if any record breaks a rule; then nothing was written.
        RecordError: if a file is not a record.
    """
    records = [(path, load_record(path)) for path in paths]
    folder.mkdir(parents=True, exist_ok=True)
    with Locks(folder).hold(".lock"):
        batch = Batch(folder, protocol_texts or {}, recheck)
        problems = [
            f"{path}: {found.id} {printable(found.text, 500)}"
            for path, record in records
            for found in batch.consider(record)
        ]
        if problems:
            raise RefusedError("nothing was added:\n" + "\n".join(problems))
        return batch.write([record for _, record in records])
