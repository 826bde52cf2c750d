"""What a submission lacks: seeds of the attacks that it brings, attacks of the suite; and the commands for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from mibench.leaderboard.met import UNLISTED, completing_command
from mibench.leaderboard.row import Row
from mibench.leaderboard.variants import is_baseline
from mibench.protocol.schema import Protocol

Gaps = Mapping[str, tuple[int, ...]]
"""Missing seeds by attack."""


def gaps(row: Row, submitted: Iterable[str], protocol: Protocol, *, new: bool) -> Gaps:
    """Return what a row lacks that its submitter owes.

    Every attack that is submitted has all seeds of the protocol, so that nobody picks a lucky one. A row that the board
    did not have has met the whole suite besides, or without a suite, an attack that the protocol lists.

    Args:
        row: as it would be on the board.
        submitted: digests of the records that are submitted.
        protocol: the board's.
        new: whether the board does not have the row yet.
    """
    digests = set(submitted)
    run: defaultdict[str, set[int]] = defaultdict(set)
    brought: dict[str, None] = {}
    for record in row.records:
        if not is_baseline(record):
            run[record.cell.attack_label].add(record.cell.seed)
            if record.digest in digests:
                brought[record.cell.attack_label] = None
    found = {attack: tuple(seed for seed in protocol.seeds if seed not in run[attack]) for attack in brought}
    if new:
        found |= row.missing
        if any(flag.id == UNLISTED for flag in row.flags):
            found |= dict.fromkeys(sorted(protocol.attacks), protocol.seeds)
    return {attack: seeds for attack, seeds in found.items() if seeds}


def commands(row: Row, lacking: Gaps) -> list[str]:
    """Return the commands that run exactly what a row lacks: one for all attacks that lack the same seeds."""
    groups: defaultdict[tuple[int, ...], dict[str, tuple[int, ...]]] = defaultdict(dict)
    for attack, seeds in lacking.items():
        groups[seeds][attack] = seeds
    return [completing_command(row.records[0], group) for group in groups.values()]
