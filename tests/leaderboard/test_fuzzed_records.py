"""Records with anything anywhere: each is accepted or refused with reasons, none ends in an exception.

A record is changed in one place and handed in as it is, or sealed again, as anybody can. It goes the whole way: `check
--json`, `add`, and what was accepted through the board's table, the site, every export, and `check` of the board.

The long run is ``MIBENCH_FUZZ=10000 pytest tests/leaderboard/test_fuzzed_records.py``: 10 000 records as they are, and
half as many that are sealed again. ``benchmarks/fuzzed_records.md`` says what it found.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from record_factory import PROTOCOL_TEXT, make_record

from mibench.api.errors import UsageError
from mibench.cli.checks import as_violations
from mibench.exchange.every_eval import Source
from mibench.exchange.export import FORMATS, Target
from mibench.leaderboard import (
    RefusedError,
    add_records,
    check_paths,
    load_board,
    to_json,
    to_markdown,
    to_table,
    verify,
)
from mibench.leaderboard.verify import Checked
from mibench.results.io import NOT_COMPARED, RecordError, load_record, record_text, seal
from mibench.results.record import Record
from mibench.site import build_site
from mibench.site.build import Settings

EXAMPLES = int(os.environ.get("MIBENCH_FUZZ", "40"))
TEXTS = {"tiny@1.0": PROTOCOL_TEXT}
SOUND = json.loads(make_record().model_dump_json())
SOUND["origins"] = [{"protocol": "tiny@0.9", "digest": "ab" * 32, "change": "schema", "schema_version": 1}]
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "{{7*7}}{% raw %}",
    "\u202e\u2066",
    "\x1b[31m\x07",
    "../../x",
    "x" * 10_000,
    "=1+1",
    "-2+3|cmd",
    "a\nb,c\r\n",
    '"; DROP',
    "",
    "\x00",
    "NaN",
    "1e999",
    "'unfinished",
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(HOSTILE)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
FIXED = {"rules.html", "read.html", "submit.html"}
"""Pages that hold nothing of any record."""
DETERMINED = re.compile(
    r"(metrics|controls/[a-z]+)/reid@[15]/(value|ci95|n|unit|group|higher_is_better)"  # by classes, images, neighbours
    r"|metrics/(accuracy|robust_acc@.*)/(value|ci95|n)|normalized_leakage|status"
    r"|protocol/(digest|variant|headline)|ledger/total|classes"
)
"""Places whose value follows from the rest of a record, or from the protocol: sealing it again helps nobody."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a record."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = list(places(SOUND))


def at(place: tuple[Any, ...], record: Any = SOUND) -> Any:
    for key in place:
        record = record[key]
    return record


WORDS = [place for place in PLACES if isinstance(at(place), str)]
EDITS = st.tuples(st.sampled_from(PLACES), VALUES) | st.tuples(st.sampled_from(WORDS), st.sampled_from(HOSTILE))


def changed(place: tuple[Any, ...], value: Any) -> Any:
    plain = json.loads(json.dumps(SOUND))
    at(place[:-1], plain)[place[-1]] = value
    return plain


class Tags(HTMLParser):
    """The tags of a page, and its attributes that run or style something."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.active: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        links = [value or "" for name, value in attrs if name in ("href", "src")]
        self.active += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.active += [link for link in links if re.match(r"\s*(javascript|vbscript|data:text)", link, re.I)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "record.json"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The tags that pages of a sound record have, by kind of page."""
    home = tmp_path_factory.mktemp("usual")
    (home / "record.json").write_text(json.dumps(SOUND), encoding="utf-8")
    return {name: set(tags.found) for name, tags in pages(home / "record.json", home).items()}


def pages(file: Path, home: Path) -> dict[str, Tags]:
    """Put a record on a board, and read the site, the exports and the tables that come of it."""
    boards, site = home / "boards", home / "site"
    add_records([file], boards, TEXTS)
    assert not [found for one in verify(boards) for found in one.findings]
    board = load_board(boards)
    shown = to_markdown(board) + "".join(cell for table in to_table(board) for row in table.rows for cell in row)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", shown)
    json.loads(to_json(board))
    target = Target(Source("mibench", "other", "", "2026-01-01"), "https://boards.example/", "mine/data")
    for export in FORMATS.values():
        for name, text in export(board.sections[0], target):
            assert (home / name).resolve().is_relative_to(home.resolve()), name
            text.encode("utf-8")
            if name.endswith("json"):
                json.loads(text, parse_constant=pytest.fail)
            if name.endswith("csv"):
                cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
                assert not [cell for cell in cells if cell[:1] in "=+-@" and cell and not number(cell)]
    build_site(boards, site, {}, Settings("2026-01-01", "https://boards.example/"))
    ElementTree.fromstring((site / "changes.xml").read_text(encoding="utf-8"))
    made = [path for path in site.rglob("*.html") if path.name not in FIXED]
    return {path.name if path.parent.name != "rows" else "row": Tags(path) for path in made}


def number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def judged(file: Path, boards: Path) -> Checked:
    """Check a file, and see that every finding has its reasons, in the JSON of `check` too."""
    [checked] = check_paths([file], boards, TEXTS)
    for finding in checked.findings:
        assert re.fullmatch(r"MB\d{3}", finding.id)
        assert finding.problem.field
        assert finding.problem.text
        assert finding.problem.remedy
    for told in as_violations([checked]):
        assert all(told.values())
        json.dumps(told, allow_nan=False).encode("utf-8")
    return checked


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(edit=EDITS)
def test_what_was_edited_is_refused_with_reasons(file: Path, edit: tuple[tuple[Any, ...], Any]) -> None:
    place, value = edit
    record = changed(place, value)
    try:
        file.write_text(json.dumps(record), encoding="utf-8")  # with NaN and Infinity, which JSON does not have
    except UnicodeEncodeError:  # half characters
        return
    checked = judged(file, file.parent / "boards")
    same = json.dumps(record, sort_keys=True) == json.dumps(SOUND, sort_keys=True)
    if not same and place[0] not in NOT_COMPARED and not equal(value, place):
        assert checked.findings, (place, value)


@settings(max_examples=EXAMPLES // 2, suppress_health_check=list(HealthCheck), deadline=None)
@given(edit=EDITS)
def test_what_was_sealed_again_breaks_no_rule_and_runs_nowhere(
    file: Path, usual: dict[str, set[str]], edit: tuple[tuple[Any, ...], Any]
) -> None:
    place, value = edit
    try:
        record = Record.model_validate_json(json.dumps(changed(place, value)), strict=True)
        file.write_text(record_text(seal(record)), encoding="utf-8")
    except (ValidationError, RecordError, UnicodeEncodeError):
        return  # no record: the test above hands it in as it is
    home = file.parent / "home"
    shutil.rmtree(home, ignore_errors=True)
    if judged(file, home / "boards").findings:
        with pytest.raises((RefusedError, UsageError, RecordError)):
            add_records([file], home / "boards", TEXTS)
        assert not list(home.rglob("*.json"))
        return
    if DETERMINED.fullmatch("/".join(map(str, place))):
        assert equal(value, place), (place, value)
    assert load_record(file).digest
    for name, tags in pages(file, home).items():
        assert set(tags.found) <= usual[name], (place, value)
        assert tags.found["script"] <= 3
        assert tags.active == [], (place, value)


def equal(value: Any, place: tuple[Any, ...]) -> bool:
    """Tell whether a value is the one that was there: 1 and 1.0, or an absent field."""
    return bool(at(place) == value)
