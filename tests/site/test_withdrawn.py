"""Nothing vanishes silently: what was withdrawn keeps its address, and pages and the feed say why."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from site_factory import HOSTILE, LIBRARY, cell, records, write_board

from mibench.leaderboard.chosen import chosen_entries
from mibench.leaderboard.withdraw import withdraw
from mibench.site import build_site
from mibench.site.build import Settings

REASON = "its seed was chosen"


@pytest.fixture()
def boards(tmp_path: Path) -> Path:
    return write_board(tmp_path / "boards", records())


def take(boards: Path, *asked: str, reason: str = REASON) -> None:
    [(board, entries)] = chosen_entries(asked, boards).items()
    withdraw(boards, board, entries, reason=reason, by="A. Referee", date="2026-02-01")


def page_of(out: Path, defense: str) -> Path:
    return next((out / "tiny/1.0/rows").glob(f"*-{defense}-*.html"))


def told(out: Path, date: str) -> dict[str, dict[str, str]]:
    changes = json.loads((out / "changes.json").read_text(encoding="utf-8"))["changes"]
    return {change["row"].split("-")[1]: change for change in changes if change["date"] == date and change["row"]}


def test_a_withdrawn_row_keeps_its_address_and_says_why(boards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_site(boards, out, LIBRARY, Settings("2026-01-01"))
    page = page_of(out, "mid")
    take(boards, page.stem)
    build_site(boards, out, LIBRARY, Settings("2026-02-02"))
    text = page.read_text(encoding="utf-8")
    assert "Withdrawn from tiny@1.0." in text
    assert REASON in text
    listed = (out / "withdrawn.html").read_text(encoding="utf-8")
    assert f'href="tiny/1.0/rows/{page.name}"' in listed
    assert "by A. Referee: its seed was chosen" in listed
    assert "1 withdrawn" in (out / "tiny/1.0/index.html").read_text(encoding="utf-8")
    new = told(out, "2026-02-02")
    assert new["mid"]["kind"] == "withdrawn"
    assert new["mid"]["text"] == "mid: 3 records withdrawn on 2026-02-01 by A. Referee: its seed was chosen"
    moved = [change["text"] for change in new.values() if change["kind"] == "moved"]
    assert moved
    assert all(text.endswith("its own numbers are as before; mid was withdrawn") for text in moved)
    feed = ElementTree.fromstring((out / "changes.xml").read_text(encoding="utf-8"))
    assert any(REASON in (one.text or "") for one in feed.iter())


def test_a_site_that_is_built_anew_has_the_address_too_and_tells_once(boards: Path, tmp_path: Path) -> None:
    build_site(boards, tmp_path / "first", LIBRARY, Settings("2026-01-01"))
    name = page_of(tmp_path / "first", "mid").name
    take(boards, name)
    out = tmp_path / "anew"
    build_site(boards, out, LIBRARY, Settings("2026-02-02"))
    assert REASON in (out / "tiny/1.0/rows" / name).read_text(encoding="utf-8")
    assert [one["kind"] for one in told(out, "2026-02-02").values()] == ["withdrawn"]
    before = json.loads((out / "changes.json").read_text(encoding="utf-8"))
    build_site(boards, out, LIBRARY, Settings("2026-03-03"))
    assert json.loads((out / "changes.json").read_text(encoding="utf-8")) == before


def test_a_row_of_which_a_record_went_says_so(boards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_site(boards, out, LIBRARY, Settings("2026-01-01"))
    take(boards, str(next(boards.rglob("entries/mid/*.json"))))
    build_site(boards, out, LIBRARY, Settings("2026-02-02"))
    assert "1 of its records were withdrawn" in page_of(out, "mid").read_text(encoding="utf-8")
    changes = json.loads((out / "changes.json").read_text(encoding="utf-8"))["changes"]
    assert {change["kind"] for change in changes if "-mid-" in change["row"]} == {"withdrawn", "changed"}


def test_a_row_that_comes_back_corrected_stands_at_its_address_with_a_banner(boards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_site(boards, out, LIBRARY, Settings("2026-01-01"))
    page = page_of(out, "mid")
    take(boards, page.stem)
    write_board(boards, [cell("mid", seed, level=0.9) for seed in (0, 1, 2)])
    build_site(boards, out, LIBRARY, Settings("2026-02-02"))
    text = page.read_text(encoding="utf-8")
    assert "<h2>Attacks</h2>" in text
    assert "3 of its records were withdrawn" in text


def test_a_hostile_reason_is_text(boards: Path, tmp_path: Path) -> None:
    take(boards, str(next(boards.rglob("entries/mid/*.json"))), reason="".join(HOSTILE[:5]))
    build_site(boards, tmp_path / "out", LIBRARY, Settings("2026-02-02"))
    for name in ("withdrawn.html", "changes.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "<img" not in text
        assert "<script>window" not in text
        assert "\u202e" not in text
    ElementTree.fromstring((tmp_path / "out/changes.xml").read_text(encoding="utf-8"))
