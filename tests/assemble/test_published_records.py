"""What is published passes the rules of today, components and keys included."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mibench.assemble.recheck import Recheck
from mibench.leaderboard import verify
from mibench.leaderboard.rules import check_record
from mibench.protocol.load import LoadedProtocol, parse_protocol
from mibench.registry.registry import load_registry
from mibench.results.io import load_record

BOARDS = Path(__file__).parents[2] / "leaderboards"
ENTRIES = sorted(BOARDS.glob("*/*/entries/*/*.json"))


@cache
def protocol(folder: Path) -> LoadedProtocol:
    return parse_protocol((folder / "protocol.yaml").read_text(encoding="utf-8"))


def test_a_sample_of_entries_breaks_no_rule() -> None:
    recheck = Recheck(load_registry())
    broken = {}
    for path in ENTRIES[::23]:
        record, loaded = load_record(path), protocol(path.parents[2])
        if found := check_record(record, loaded) or recheck.findings(record, loaded):
            broken[path.name] = found
    assert len(ENTRIES) >= 345
    assert broken == {}


@pytest.mark.slow
def test_no_entry_breaks_a_rule_and_tables_are_made_from_entries() -> None:
    found = list(verify(BOARDS, recheck=Recheck(load_registry()).findings))
    assert {one.path.name: one.findings for one in found if one.findings} == {}
    beside = [path for name in ("board.csv", "attestations/*.json") for path in BOARDS.glob(f"*/*/{name}")]
    assert len(found) == len(ENTRIES) + len(beside)
