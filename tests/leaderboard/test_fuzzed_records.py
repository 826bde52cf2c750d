"""Records with anything anywhere: each is accepted or refused with reasons, none ends in an exception.

The long run of this test (10 000 records) is ``MIBENCH_FUZZ=10000 pytest tests/leaderboard/test_fuzzed_records.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_factory import PROTOCOL_TEXT, make_record

from mibench.leaderboard import check_paths
from mibench.results.io import NOT_COMPARED

EXAMPLES = int(os.environ.get("MIBENCH_FUZZ", "40"))
SOUND = json.loads(make_record().model_dump_json())
HOSTILE = ["<script>alert(1)</script>", "\u202e", "../../x", "x" * 10_000, "=1+1", "", "\x00", "NaN", "1e999"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(HOSTILE)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a record."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = list(places(SOUND))


def changed(place: tuple[Any, ...], value: Any) -> Any:
    plain = json.loads(json.dumps(SOUND))
    inside = plain
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return plain


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "record.json"


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_what_was_edited_is_refused_with_reasons(file: Path, place: tuple[Any, ...], value: Any) -> None:
    record = changed(place, value)
    try:
        file.write_text(json.dumps(record), encoding="utf-8")  # with NaN and Infinity, which JSON does not have
    except UnicodeEncodeError:  # half characters
        return
    [checked] = check_paths([file], file.parent / "boards", {"tiny@1.0": PROTOCOL_TEXT})
    for finding in checked.findings:
        assert finding.id.startswith("MB")
        assert finding.problem.field
        assert finding.problem.text
        assert finding.problem.remedy
    same = json.dumps(record, sort_keys=True) == json.dumps(SOUND, sort_keys=True)
    if not same and place[0] not in NOT_COMPARED and not _equal(value, place):
        assert checked.findings, (place, value)


def _equal(value: Any, place: tuple[Any, ...]) -> bool:
    """Tell whether a value is the one that was there: 1 and 1.0, or an absent field."""
    inside: Any = SOUND
    for key in place:
        inside = inside[key]
    return bool(inside == value)
