"""What became of an earlier state (MB82x): nothing that was published changes or vanishes without a withdrawal."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mibench.api.errors import MibenchError
from mibench.leaderboard.earlier import Earlier
from mibench.leaderboard.finding import Finding, Problem
from mibench.leaderboard.layout import boards
from mibench.leaderboard.verify import Checked
from mibench.leaderboard.withdrawals import folders, read_notice
from mibench.protocol.load import parse_protocol
from mibench.results.io import RecordError

_BOARD = r"[^/]+/\d+\.\d+/"
_ENTRY = re.compile(rf"({_BOARD})entries/([^./][^/]*/[^./][^/]*\.json)")
_PROTOCOL = re.compile(rf"{_BOARD}protocol\.yaml")
_WITHDRAWN = re.compile(rf"{_BOARD}withdrawn/[^./][^/]*/(notice\.json|entries/.+\.json)")
_ATTESTED = re.compile(rf"{_BOARD}attestations/[^./][^/]*\.json")
WITHDRAW = "withdraw it in the open: mibench leaderboard withdraw {} --reason '...'"


def changed_since(earlier: Earlier, folder: Path) -> Iterator[Checked]:
    """Yield every published file of an earlier state that is gone or changed, though nobody withdrew it.

    Args:
        earlier: what the leaderboards folder held.
        folder: the leaderboards folder now.
    """
    withdrawn = _withdrawn(folder)
    for name, content in sorted(earlier.files.items()):
        if found := _changed(name, content, folder, withdrawn, earlier.name):
            yield Checked(folder / name, [found])


def published(earlier: Earlier) -> int:
    """Return how many entries an earlier state holds."""
    return sum(_ENTRY.fullmatch(name) is not None for name in earlier.files)


def _changed(name: str, content: bytes, folder: Path, withdrawn: dict[str, list[bytes]], since: str) -> Finding | None:
    path = folder / name
    now = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    restore = f"restore it: git checkout {since} -- {path}"
    if _PROTOCOL.fullmatch(name):
        if now is None or not _same_protocol(content, now):
            text = "the frozen protocol is gone" if now is None else "the frozen protocol has another digest"
            return Finding("MB822", Problem("file", f"{text}; {since} has it", f"{restore}; a change is a new version"))
    elif entry := _ENTRY.fullmatch(name):
        if any(_same(content, old) for old in withdrawn.get("".join(entry.groups()), ())):
            return None
        if now is None:
            return Finding("MB820", Problem("file", f"{since} has this entry, and it is gone", f"{restore}, then "
                                            + WITHDRAW.format(path)))  # fmt: skip
        if not _same(content, now):
            return Finding("MB821", Problem("file", f"it is not as {since} has it", f"{restore}, then "
                                            + WITHDRAW.format(path)))  # fmt: skip
    elif now is None or not _same(content, now):
        text = "it is gone" if now is None else "it was changed"
        for rule, kind in (("MB823", _WITHDRAWN), ("MB824", _ATTESTED)):
            if kind.fullmatch(name):
                return Finding(rule, Problem("file", f"{text}; {since} has it", restore))
    return None


def _withdrawn(folder: Path) -> dict[str, list[bytes]]:
    """Return what was withdrawn, by ``<protocol>/<version>/<defense>/<file>``."""
    found: dict[str, list[bytes]] = {}
    for board in boards(folder):
        for place in folders(board):
            with contextlib.suppress(RecordError):  # a damaged notice excuses nothing; rule MB810 tells of it
                one = read_notice(board, place)
                for record in one.notice.records:
                    path = one.place(record.file)
                    if path.is_file():
                        found.setdefault(f"{board.name}/{board.version}/{record.file}", []).append(path.read_bytes())
    return found


def _same(one: bytes, other: bytes) -> bool:
    """Tell whether two files hold the same JSON; line ends and order of keys are free."""
    if one == other:
        return True
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def _same_protocol(one: bytes, other: bytes) -> bool:
    if one == other:
        return True
    try:
        before, after = (parse_protocol(text.decode("utf-8")).digest for text in (one, other))
    except (MibenchError, UnicodeDecodeError):
        return False
    return before == after
