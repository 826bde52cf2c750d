"""Boards of several versions: old addresses stay, banners lead to the newer one, rows lead to each other."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT
from site_factory import LIBRARY, SETTINGS, cell, write_board

from mibench.protocol.load import parse_protocol
from mibench.results.io import save_record, seal
from mibench.results.record import Origin, Record
from mibench.site import build_site

NEWER = PROTOCOL_TEXT.replace('"1.0"', '"1.1"') + (
    "follows: {protocol: tiny@1.0, change: cosmetic, why: '<b>other</b> words'}\n"
)


def carried(record: Record, change: str = "cosmetic") -> Record:
    protocol = record.protocol.model_copy(update={"version": "1.1", "digest": parse_protocol(NEWER).digest})
    was = Origin(protocol="tiny@1.0", digest=seal(record).digest, change=change)
    return record.model_copy(update={"protocol": protocol, "origins": [was]})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("versions")
    olds = [cell(defense) for defense in ("none", "atat", "mid")]
    root = write_board(home / "boards", olds)
    newer = root / "tiny" / "1.1"
    newer.mkdir()
    (newer / "protocol.yaml").write_text(NEWER, encoding="utf-8")
    for record in (
        carried(olds[0]),
        carried(olds[1], "regradable"),
        carried(cell("bido")).model_copy(update={"origins": []}),
    ):
        save_record(record, newer / "entries" / record.cell.defense)
    build_site(root, home / "site", LIBRARY, SETTINGS)
    return home / "site"


def row(site: Path, version: str, defense: str) -> Path:
    [page] = (site / "tiny" / version / "rows").glob(f"*-{defense}-*.html")
    return page


def banner(page: Path) -> str:
    return unescape(" ".join(re.findall(r'<p class="banner">(.*?)</p>', page.read_text("utf-8"), re.S)))


def plain(text: str) -> str:
    return re.sub("<[^>]*>", "", text)


def test_an_older_board_is_kept_and_leads_to_the_newer_one(site: Path) -> None:
    for name in ("index.html", "matrix.html"):
        told = banner(site / "tiny/1.0" / name)
        assert "A newer version of this protocol exists: tiny@1.1. This board is kept" in plain(told)
        assert "2 of its rows were carried over" in told
        assert 'href="../../tiny/1.1/index.html"' in told
    assert banner(site / "tiny/1.1/index.html") == ""


def test_the_reason_is_told_as_text(site: Path) -> None:
    text = (site / "tiny/1.0/index.html").read_text("utf-8")
    assert "(cosmetic): &lt;b&gt;other&lt;/b&gt; words" in text


def test_rows_lead_to_each_other(site: Path) -> None:
    for defense, there, back in (
        ("none", "has the same numbers under", "Carried over, with the numbers that it has there, from"),
        ("atat", "was measured again under", "Measured again from the reconstructions of"),
    ):
        old, new = row(site, "1.0", defense), row(site, "1.1", defense)
        assert f'{there} <a href="../../../tiny/1.1/rows/{new.name}">tiny@1.1</a>' in banner(old)
        assert f'{back} <a href="../../../tiny/1.0/rows/{old.name}">tiny@1.0</a>' in new.read_text("utf-8")
        assert banner(new) == ""


def test_a_row_that_stayed_says_so_and_a_new_one_says_nothing(site: Path) -> None:
    assert "This row was not carried over" in banner(row(site, "1.0", "mid"))
    assert "from <a" not in row(site, "1.1", "bido").read_text("utf-8")
