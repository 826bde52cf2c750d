"""Where entries came from, if not from a run: what was carried over is what its origin on the older board says."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from mibench.api.errors import UsageError
from mibench.leaderboard.finding import Finding, Problem, differs
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.slot import slot
from mibench.leaderboard.withdrawals import all_records
from mibench.protocol.follows import age
from mibench.results.io import RecordError, compared
from mibench.results.record import Origin, Record

RULE = "MB804"
REMEDY = "carry it over with `mibench leaderboard migrate`, or run it under this version"
WITHDRAW = "withdraw it too, for the same reason: `mibench leaderboard withdraw`"
EVIDENCE = ("target", "reconstructions")


def carried_from(record: Record) -> Origin | None:
    """Return the last version of the protocol that a record was carried from; ``None`` for one that a run wrote."""
    return next((one for one in reversed(record.origins) if one.change != "schema"), None)


class Origins:
    """The entries of a leaderboards folder by every digest that they have or had.

    Args:
        root: the leaderboards folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, dict[str, Record]] = {}
        self._withdrawn: dict[str, set[str]] = {}

    def findings(self, record: Record) -> list[Finding]:
        """Return what a record says wrongly about where it was carried from; nothing for one that a run wrote."""
        origin = carried_from(record)
        if origin is None:
            return []
        field = f"origins.{record.origins.index(origin)}"
        name, _, version = origin.protocol.partition("@")
        if name != record.protocol.name or age(version) >= age(record.protocol.version):
            expected = f"an older version of {record.protocol.name!r}"
            return [Finding(RULE, differs(f"{field}.protocol", expected, origin.protocol, REMEDY))]
        if origin.digest in self._gone(name, version):
            text = f"its origin was withdrawn from {origin.protocol}"
            return [Finding(RULE, Problem(f"{field}.digest", text, WITHDRAW))]
        entry = self._entries(name, version).get(origin.digest)
        if entry is None:
            expected = f"the digest of an entry of {origin.protocol}"
            return [Finding(RULE, differs(f"{field}.digest", expected, f"{origin.digest[:12]}…", REMEDY))]
        return [Finding(RULE, problem) for problem in _differing(record, entry, origin)]

    def _gone(self, name: str, version: str) -> set[str]:
        where = f"{name}@{version}"
        if where not in self._withdrawn:
            board = BoardFolder(self._root, name, version)
            self._withdrawn[where] = set()
            with contextlib.suppress(RecordError, UsageError):  # told where that board is checked
                for _, record in all_records(board):
                    self._withdrawn[where] |= {record.digest, *(one.digest for one in record.origins)}
        return self._withdrawn[where]

    def _entries(self, name: str, version: str) -> dict[str, Record]:
        where = f"{name}@{version}"
        if where not in self._known:
            found: dict[str, Record] = {}
            board = BoardFolder(self._root, name, version)
            for path in board.files():
                with contextlib.suppress(RecordError, UsageError):  # told where that board is checked
                    record = board.read(path)
                    found |= dict.fromkeys([record.digest, *(one.digest for one in record.origins)], record)
            self._known[where] = found
        return self._known[where]


def _differing(record: Record, entry: Record, origin: Origin) -> list[Problem]:
    if slot(record) != slot(entry):
        return [Problem("origins", "its origin is another cell", REMEDY)]
    if origin.change == "cosmetic":
        here, there = (_numbers(one) for one in (record, entry))
        names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
        return [Problem(names[0], f"it is not what the entry of {origin.protocol} has", REMEDY)] if names else []
    return [
        differs(f"inputs.{role}", f"{entry.inputs.get(role, 'nothing')[:12]}… of its origin", got[:12], REMEDY)
        for role in EVIDENCE
        if (got := record.inputs.get(role, "nothing")) != entry.inputs.get(role, "nothing")
    ]


def _numbers(record: Record) -> dict[str, Any]:
    """Return what must not change when a record is carried over: all but the protocol and the key that holds it."""
    plain = compared(record)
    return {**plain, "protocol": plain["protocol"]["headline"], "cell": {**plain["cell"], "key": ""}}
