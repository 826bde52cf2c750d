"""The site in real Chromium: with and without JavaScript, by keyboard, on phones, in the dark, with hostile records.

Left out where no Chromium is installed (Debian: ``apt-get install chromium``), or ``MIBENCH_CHROMIUM`` names none.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from site_factory import LIBRARY, SETTINGS, hostile_records, records, write_board

from mibench.leaderboard.ranks import rank
from mibench.site import build_site
from mibench.site.board_page import board_page
from mibench.site.entry import BoardPages, load_pages
from mibench.site.versions import Versions

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Browser, BrowserPage = sync_api.Browser, sync_api.Page
FOUND = (os.environ.get("MIBENCH_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in FOUND if name and (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or MIBENCH_CHROMIUM")
BOARD = "tiny/1.0/index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(tmp_path_factory.mktemp("boards"), records())


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build_site(root, out, LIBRARY, SETTINGS)
    return out


@pytest.fixture()
def page(browser: Any) -> Iterator[Any]:
    yield from opened(browser)


def opened(browser: Any, **options: Any) -> Iterator[Any]:
    """Yield a page that must not log an error, open a dialog or ask any host for anything."""
    context = browser.new_context(**options)
    made, wrong = context.new_page(), []
    made.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("dialog", lambda dialog: (wrong.append("dialog"), dialog.dismiss()))
    made.on("request", lambda asked: None if asked.url.startswith(("file:", "blob:")) else wrong.append(asked.url))
    yield made
    context.close()
    assert wrong == []


def at(site: Path, name: str = BOARD) -> str:
    return (site / name).as_uri()


def column(page: Any, name: str) -> list[str]:
    """Return a column of the rows that are shown."""
    return page.locator(f"#board tbody tr:not([hidden]) [data-col='{name}']").evaluate_all(
        "cells => cells.map(cell => cell.querySelector('a')?.textContent ?? cell.firstChild.textContent.trim())"
    )


def test_every_page_is_whole_without_javascript(browser: Any, site: Path) -> None:
    for page in opened(browser, java_script_enabled=False):
        page.goto(at(site))
        assert page.locator("#board tbody tr").count() == 5
        assert not page.locator("#tools").is_visible()
        assert page.locator("thead button").count() == 0
        page.goto(at(site, "index.html"))
        page.get_by_role("link", name="tiny@1.0").first.click()
        page.locator("#board tbody a").first.click()
        assert page.get_by_role("heading", name="atat", exact=True).is_visible()
        assert page.locator("svg .after").count() == 12


def test_sorting_tells_its_direction_and_lives_in_the_address(page: Any, site: Path) -> None:
    page.goto(at(site))
    assert column(page, "name") == ["atat", "negls", "bido", "mid", "none"]
    page.get_by_role("button", name=re.compile("^accuracy")).click()
    assert page.locator("th[aria-sort=ascending]").get_attribute("data-col") == "accuracy"
    rising = column(page, "name")
    assert rising == ["atat", "negls", "bido", "mid", "none"]
    page.get_by_role("button", name=re.compile("^accuracy")).click()
    assert column(page, "name") == rising[::-1]
    assert page.url.endswith("#sort=-accuracy")
    page.reload()
    assert column(page, "name") == rising[::-1]
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.get_by_role("button", name="Reset").click()
    assert column(page, "name") == rising
    assert "#" not in page.url


@pytest.mark.parametrize(("facet", "value"), [("family", "dependency"), ("complete", "ranked"), ("family", "gradient")])
def test_filters_rank_anew_as_python_does(page: Any, site: Path, root: Path, facet: str, value: str) -> None:
    [board] = load_pages(root, LIBRARY)
    kept = [entry.row for entry in board.entries if facet == "complete" or entry.family == value]
    expected = {row.defense: row.rank for row in rank(kept)}
    page.goto(f"{at(site)}#{facet}={value}")
    assert dict(zip(column(page, "name"), map(int, column(page, "rank")), strict=True)) == expected


def test_ranks_of_any_choice_of_rows_are_those_of_python(page: Any, site: Path, root: Path) -> None:
    [board] = load_pages(root, LIBRARY)
    rows = [replace(entry.row, rank=0) for entry in board.entries]
    whole = [row.rank for row in rank(rows)]
    assert len(set(whole)) > 2
    page.goto(at(site))
    for chosen in ([0, 1, 2], [1, 2, 3, 4], [0, 3, 4], [2, 4], [3]):
        names = [rows[place].defense for place in chosen]
        families = {name: "kept" if name in names else "left" for name in (row.defense for row in rows)}
        page.evaluate(
            """families => { for (const tr of document.querySelectorAll('#board tbody tr'))
                 tr.dataset.family = families[tr.querySelector('a').textContent];
               const select = document.querySelector('[data-facet=family]');
               select.replaceChildren(new Option('all', ''), new Option('kept'));
               select.value = 'kept'; select.dispatchEvent(new Event('change')); }""",
            families,
        )
        expected = [row.rank for row in rank([rows[place] for place in chosen])]
        assert column(page, "rank") == list(map(str, expected))


def test_search_hides_rows_and_keeps_ranks(page: Any, site: Path) -> None:
    page.goto(at(site))
    before = dict(zip(column(page, "name"), column(page, "rank"), strict=True))
    page.keyboard.press("/")
    page.keyboard.type("mid")
    assert column(page, "name") == ["mid"]
    assert column(page, "rank") == [before["mid"]]
    assert page.get_by_role("status").text_content() == "1 of 5 rows. Ranks are among the 5 ranked rows."
    assert page.locator("svg.plot >> nth=0").locator("[data-row]:not([hidden])").count() == 1


def test_columns_are_chosen_and_stay(page: Any, site: Path) -> None:
    page.goto(at(site))
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("family", exact=True).last.check()
    page.get_by_label("attack acc@1").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    assert column(page, "family") == ["adversarial", "gradient", "dependency", "dependency", "none"]
    assert not page.locator("th[data-col=attack-acc]").is_visible()
    assert page.locator("th[data-col=family]").is_visible()


def saved(page: Any, form: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=form).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_downloads_hold_what_is_on_screen(page: Any, site: Path) -> None:
    page.goto(f"{at(site)}#family=dependency&sort=-leakage&cols=leakage,flags")
    lines = list(csv.DictReader(saved(page, "CSV").splitlines()))
    assert [line["defense"] for line in lines] == ["mid", "bido"]
    assert list(lines[0]) == ["rank", "defense", "leakage", "leakage_low", "leakage_high", "flags"]
    whole = {
        row["defense"]: row for row in csv.DictReader((site / "tiny/1.0/board.csv").read_text("utf-8").splitlines())
    }
    for line in lines:
        assert float(line["leakage"]) == float(whole[line["defense"]]["leakage"])
        assert float(line["leakage_low"]) == float(whole[line["defense"]]["leakage_low"])
    found = json.loads(saved(page, "JSON"))
    assert [row["defense"] for row in found["rows"]] == ["mid", "bido"]
    assert found["address"].endswith("sort=-leakage&cols=leakage%2Cflags") or "cols=leakage,flags" in found["address"]
    latex = saved(page, "LaTeX")
    assert r"\toprule" in latex
    assert latex.count(r"\\") == 3
    assert "tiny@1.0 (digest" in latex
    assert "95 \\% intervals" in latex
    bibtex = saved(page, "BibTeX")
    assert bibtex.count("@article{some2020one") == 1
    assert bibtex.count("@misc{mibench-tiny-1.0-smallcnn-") == 2


def test_the_keyboard_is_enough(page: Any, site: Path) -> None:
    page.goto(at(site))
    page.keyboard.press("Tab")
    assert page.locator(":focus").text_content() == "To the content"
    page.locator("thead button").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("thead th[data-col=name]").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Tab")
    assert page.locator("th[data-col=leakage] button").evaluate("button => button === document.activeElement")
    page.locator("[data-facet=family]").focus()
    page.keyboard.press("ArrowDown")
    assert len(column(page, "name")) == 1
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_commands_are_copied(browser: Any, site: Path) -> None:
    for page in opened(browser, permissions=["clipboard-read", "clipboard-write"]):
        page.goto(at(site, "submit.html"))
        page.get_by_role("button", name="copy").first.click()
        page.get_by_role("button", name="copied").wait_for()


def test_dark_pages_are_dark_and_remember_a_choice(browser: Any, site: Path) -> None:
    for page in opened(browser, color_scheme="dark"):
        page.goto(at(site))
        ground = "() => getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(20, 24, 28)"
        page.get_by_role("button", name="Light or dark").click()
        assert page.evaluate(ground) == "rgb(252, 252, 250)"


@pytest.mark.parametrize("width", [320, 375])
def test_no_page_is_wider_than_a_phone(browser: Any, site: Path, width: int) -> None:
    for page in opened(browser, viewport={"width": width, "height": 700}):
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri())
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, path.name


def test_a_hostile_record_does_nothing(browser: Any, tmp_path: Path) -> None:
    root = write_board(tmp_path / "boards", hostile_records())
    build_site(root, tmp_path / "out", LIBRARY, SETTINGS)
    for page in opened(browser, viewport={"width": 375, "height": 700}):
        for path in sorted((tmp_path / "out").rglob("*.html")):
            page.goto(path.as_uri())
            for details in page.locator("details").all():
                details.evaluate("one => { one.open = true; }")
            assert page.evaluate("() => [window.hit ?? null, document.documentElement.scrollWidth]") == [None, 375], (
                path
            )
        page.goto(at(tmp_path / "out"))
        assert "<img src=x onerror=window.hit=1>" in column(page, "name")
        for form in ("CSV", "JSON", "LaTeX", "BibTeX"):
            assert saved(page, form)
        assert page.evaluate("() => window.hit ?? null") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, site: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    rows = sorted((site / "tiny/1.0/rows").iterdir())
    names = ["index", "read", "submit", "rules", "methods", "changes", "tiny/1.0/index", "tiny/1.0/matrix"]
    for page in opened(browser, color_scheme=scheme):
        for path in [*(site / f"{name}.html" for name in names), rows[0]]:
            page.goto(path.as_uri())
            for details in page.locator("main details").all():
                details.evaluate("one => { one.open = true; }")
            found = axe.run(page).response["violations"]
            told = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found]
            assert told == [], path.name


def test_two_thousand_rows_are_searched_and_sorted(browser: Any, root: Path, tmp_path: Path) -> None:
    [board] = load_pages(root, LIBRARY)
    entries = [replace(board.entries[place % 5], slug=f"row-{place}") for place in range(2000)]
    large = BoardPages(board.folder, board.loaded, replace(board.section, rows=tuple(one.row for one in entries)),
                       tuple(entries))  # fmt: skip
    path = tmp_path / "large.html"
    path.write_text(board_page(large, Versions(), LIBRARY, ""), encoding="utf-8")
    for page in opened(browser):
        page.goto(path.as_uri())
        page.locator("#q").fill("mid")
        assert page.locator("#board tbody tr:not([hidden])").count() == 400
        page.locator("#q").fill("")
        page.locator("th[data-col=accuracy] button").click()
        values = page.locator("#board tbody tr").evaluate_all(
            "rows => rows.map((row) => +row.querySelector('[data-col=accuracy]').dataset.v)"
        )
        assert len(values) == 2000
        assert values == sorted(values) != [values[0]] * 2000
