"""How long a board's page takes to paint and to sort, as its rows become many.

``python benchmarks/board_page_speed.py`` (it wants playwright and a Chromium): the rows of orl64's board, repeated. A
sort is told in multiples of what the browser takes to lay the same table out anew, moving nothing: much above two at
thousands of rows, and ``sort`` of ``board.js`` does more than it has to.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

from mibench.site.board_page import board_page
from mibench.site.entry import BoardPages, load_pages
from mibench.site.versions import Versions

ROOT = Path(__file__).parents[1] / "leaderboards"
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
SORT = """() => { const start = performance.now(); document.querySelector('th[data-col=accuracy] button').click();
  document.body.offsetHeight; return performance.now() - start; }"""
LAYOUT = """() => { const { style } = document.getElementById('board'), start = performance.now();
  style.display = 'none'; document.body.offsetHeight; style.display = ''; document.body.offsetHeight;
  return performance.now() - start; }"""


def repeated(board: BoardPages, rows: int) -> BoardPages:
    """Return a board of so many rows, each with an address of its own."""
    many = tuple(replace(board.entries[n % len(board.entries)], slug=f"row-{n}") for n in range(rows))
    section = replace(board.section, rows=tuple(one.row for one in many))
    return BoardPages(board.folder, board.loaded, section, many)


def measured(browser: Any, path: Path) -> tuple[float, float, float]:
    """Return milliseconds, medians of five visits: to the first paint, of a first sort, of a layout."""
    taken = []
    for _ in range(5):
        page = browser.new_page()
        page.goto(path.as_uri())
        paint = page.wait_for_function(PAINT).json_value()
        taken.append((paint, page.evaluate(LAYOUT), page.evaluate(SORT)))
        page.close()
    paint, layout, sort = (median(column) for column in zip(*taken, strict=True))
    return paint, sort, layout


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20, 200, 2000])
    sizes = parser.parse_args().rows
    board = [one for one in load_pages(ROOT, {}) if one.folder.name == "orl64"][-1]
    print("| rows | first paint, ms | sort, ms | sort / layout |\n|---|---|---|---|")
    with TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for rows in sizes:
            path = Path(folder) / f"{rows}.html"
            path.write_text(board_page(repeated(board, rows), Versions(), {}, ""), encoding="utf-8")
            paint, sort, layout = measured(browser, path)
            print(f"| {rows} | {paint:.0f} | {sort:.0f} | {sort / layout:.1f} |")


if __name__ == "__main__":
    main()
