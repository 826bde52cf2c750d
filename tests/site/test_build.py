"""The site as files: complete, self-contained, equal for equal entries, and nothing in it is taken for markup."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from record_factory import PROTOCOL_TEXT, metric, protocol_text
from site_factory import LIBRARY, SETTINGS, cell, hostile_records, records, write_board

from mibench.api.errors import UsageError
from mibench.leaderboard.attest import Witness, attest_ran
from mibench.leaderboard.board import load_board
from mibench.leaderboard.layout import choose
from mibench.leaderboard.tables import to_table
from mibench.results.io import RecordError
from mibench.site import build_site
from mibench.site.axis import Axis, axis
from mibench.site.build import Settings
from mibench.site.pages import as_script
from mibench.site.scatter import front

ALLOWED_TAGS = {"script", "style", "svg", "a", "b", "img"}


class Page(HTMLParser):
    """What a page refers to, and the tags in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_board(tmp_path_factory.mktemp("boards"), records())
    out = tmp_path_factory.mktemp("site") / "out"
    build_site(root, out, LIBRARY, SETTINGS)
    return out


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_link_leads_to_a_file_of_the_site(site: Path) -> None:
    found = pages(site)
    assert len(found) == 7 + 2 + 5
    for page in found:
        read = Page(page)
        assert len(set(read.ids)) == len(read.ids)
        for link in read.links:
            if link.startswith(("data:", "#")):
                continue
            assert "//" not in link, (page, link)
            assert (page.parent / unquote(link.partition("#")[0])).is_file(), (page, link)


def test_equal_entries_give_equal_bytes(site: Path, tmp_path: Path) -> None:
    root = write_board(tmp_path / "boards", reversed(records()))
    build_site(root, tmp_path / "out", LIBRARY, SETTINGS)
    files = {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    again = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*")
             if path.is_file()}  # fmt: skip
    assert files == again


def test_a_board_says_what_its_rows_are(site: Path) -> None:
    text = (site / "tiny/1.0/index.html").read_text(encoding="utf-8")
    table = text[text.index("<tbody>") : text.index("</tbody>")]
    assert re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]*)', table)[0] == "atat"
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert [len(line) for line in data["pairs"]] == [0, 1, 2, 3, 4]
    assert data["rows"][0]["cites"] == ["some2020one"]
    lines = list(csv.DictReader((site / "tiny/1.0/cells.csv").read_text(encoding="utf-8").splitlines()))
    assert len(lines) == 17 * 12
    assert {line["person"] for line in lines} == {str(who) for who in range(12)}
    assert lines[0]["gold:reid@1"]


def test_a_row_without_an_attack_that_others_met_has_the_command(site: Path) -> None:
    text = (site / "tiny/1.0/matrix.html").read_text(encoding="utf-8")
    assert "--defense negls --attack ppa/ce --seed 0 --seed 1 --seed 2" in text
    assert "--defense atat --attack ppa/ce --seed 2" in text


def test_nothing_in_a_hostile_record_becomes_markup(tmp_path: Path) -> None:
    root = write_board(tmp_path / "boards", hostile_records())
    out = tmp_path / "out"
    build_site(root, out, LIBRARY, SETTINGS)
    for page in pages(out):
        read, text = Page(page), page.read_text(encoding="utf-8")
        assert "img" not in read.tags
        assert "b" not in read.tags
        scripts = read.tags.count("script")
        assert scripts == (3 if page.parent.name == "1.0" and page.name == "index.html" else 1), page
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u0000]", text), page
        assert "x" * 3000 not in text
    feed = ElementTree.fromstring((out / "changes.xml").read_text(encoding="utf-8"))
    assert feed.tag.endswith("feed")


def test_changes_are_told_from_one_build_to_the_next(tmp_path: Path) -> None:
    root, out = tmp_path / "boards", tmp_path / "out"
    write_board(root, records())
    build_site(root, out, LIBRARY, Settings("2026-01-01"))
    mid = root / "tiny/1.0/entries/mid"
    for path in mid.iterdir():
        path.unlink()
    write_board(root, [cell("negls", seed, level=0.02, attack="gmi") for seed in (0, 1, 2)])
    write_board(root, [cell("atat", seed, level=0.9, attack="gmi") for seed in (0, 1, 2)])
    gone = next((out / "tiny/1.0/rows").glob("*-mid-*.html"))
    build_site(root, out, LIBRARY, Settings("2026-02-02"))
    told = json.loads((out / "changes.json").read_text(encoding="utf-8"))["changes"]
    new = {change["row"].split("-")[1]: change for change in told if change["date"] == "2026-02-02"}
    assert new["mid"]["kind"] == "went"
    assert "No longer on the board" in gone.read_text(encoding="utf-8")
    assert "its 3 records are no longer on the board" in gone.read_text(encoding="utf-8")
    assert new["atat"]["kind"] == "changed"
    assert "new attacks: gmi" in new["atat"]["text"]
    assert "5 to 8 records" in new["atat"]["text"]
    assert "rank 1 to" in new["atat"]["text"]
    assert new["bido"]["kind"] == "moved"
    assert told[-1]["text"] == "the board begins with 5 rows"
    assert "new attacks: gmi" in (out / "tiny/1.0/rows").joinpath(f"{new['atat']['row']}.html").read_text("utf-8")
    assert len(ElementTree.fromstring((out / "changes.xml").read_text("utf-8")).findall("{*}entry")) == len(told)


def test_a_history_that_was_edited_writes_nowhere_else(tmp_path: Path) -> None:
    root, out = write_board(tmp_path / "boards", [cell("none")]), tmp_path / "out"
    build_site(root, out, LIBRARY, SETTINGS)
    told = json.loads((out / "changes.json").read_text(encoding="utf-8"))
    for board, row in (("../../evil@1.0", "x"), ("tiny@1.0", "../../../evil"), ("tiny@1.0", "fine"), ("old@2.0", "")):
        told["changes"].append(
            {"date": "2026-01-01", "board": board, "row": row, "kind": "went", "text": "<b>gone</b>"}
        )
    (out / "changes.json").write_text(json.dumps(told), encoding="utf-8")
    build_site(root, out, LIBRARY, SETTINGS)
    assert not list(tmp_path.rglob("*evil*"))
    assert (out / "tiny/1.0/rows/fine.html").is_file()
    assert "old@2.0" in (out / "old/2.0/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1, "boards": {}, "changes": [{}]}', '{"format": 2}'])
def test_a_history_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "changes.json").write_text(text)
    with pytest.raises(UsageError, match=r"changes\.json"):
        build_site(write_board(tmp_path / "boards", [cell("none")]), out, LIBRARY, SETTINGS)


def test_older_versions_keep_their_address_and_say_so(tmp_path: Path) -> None:
    root, out = write_board(tmp_path / "boards", records()), tmp_path / "out"
    newer = root / "tiny/1.1"
    newer.mkdir()
    (newer / "protocol.yaml").write_text(PROTOCOL_TEXT.replace('"1.0"', '"1.1"'), encoding="utf-8")
    build_site(root, out, LIBRARY, SETTINGS)
    old, new = load_board(root).sections
    assert (old.newer, new.newer) == ("tiny@1.1", "")
    assert to_table(load_board(root, "tiny@1.0"))[0].title.endswith("(superseded by tiny@1.1)")
    assert "An older version" in (out / "tiny/1.0/index.html").read_text(encoding="utf-8")
    assert "An older version" not in (out / "tiny/1.1/index.html").read_text(encoding="utf-8")


def test_the_page_of_a_row_lists_its_attestations(tmp_path: Path) -> None:
    root, out = write_board(tmp_path / "boards", [cell("none")]), tmp_path / "out"
    build_site(root, out, LIBRARY, SETTINGS)
    [page] = out.rglob("rows/*.html")
    assert "Nobody has stated who ran its records" in page.read_text(encoding="utf-8")
    [(_, record)] = choose(root, "tiny")[0].records()
    attest_ran([record], root, Witness("Ben <script>", "third-party", "2026-11-30", note="on a train"))
    build_site(root, out, LIBRARY, SETTINGS)
    text = page.read_text(encoding="utf-8")
    told = "<td>ran</td><td>Ben &lt;script&gt; (third-party)</td>"
    assert told + '<td class="num">1 of 1</td><td>–</td><td class="small">on a train</td>' in text


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    root, out = write_board(tmp_path / "boards", [cell("none")]), tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="no mibench site"):
        build_site(root, out, LIBRARY, SETTINGS)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    root = write_board(tmp_path / "boards", [cell("none")])
    [entry] = (root / "tiny/1.0/entries/none").iterdir()
    entry.write_text(entry.read_text(encoding="utf-8").replace("0.7", "NaN", 1), encoding="utf-8")
    with pytest.raises(RecordError, match=entry.name):
        build_site(root, tmp_path / "out", LIBRARY, SETTINGS)


def test_the_real_boards_give_a_site(tmp_path: Path) -> None:
    root = Path(__file__).parents[2] / "leaderboards"
    build_site(root, tmp_path, {}, SETTINGS)
    rows = sum(len(section.rows) for section in load_board(root).sections)
    assert len(list(tmp_path.rglob("rows/*.html"))) == rows


def test_scripts_cannot_be_ended_by_data() -> None:
    text = as_script({"a": "</script><!--\u2028&"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!--\u2028&"}


def test_the_front_is_what_no_other_point_beats() -> None:
    assert front([(10, 50), (20, 40), (15, 60), (30, 45), (12, 55)]) == "M30 45H15V60"
    assert front([(10, 50), (20, 40)], down=False) == "M20 40"
    assert front([]) == ""


def test_axes_have_round_ticks_and_hold_everything() -> None:
    made = axis([0.11, 0.46], 0, 100, fraction=True)
    assert (made.low, [tick.text for tick in made.ticks()]) == (0.0, [".0", ".1", ".2", ".3", ".4", ".5"])
    assert [tick.text for tick in axis([0.2, 9.1], 0, 100, fraction=False).ticks()][:3] == ["0", "2", "4"]
    assert axis([], 0, 1, fraction=True).high == 1
    assert Axis(0, 1, 0, 100).at(2) == 100


def test_a_board_in_bits_with_a_suite_says_what_is_missing(tmp_path: Path) -> None:
    text = protocol_text(headline="bits", attacks="{ppa: {name: ppa, params: {steps: 5}}, gmi: {name: gmi}}")
    text = text[: text.index("  ppa: {name: ppa, params")] + text[text.index("priors:") :] + "suite: [ppa, gmi]\n"
    made = []
    for seed in (0, 1, 2):
        for defense, bits in (("none", 6.0), ("atat", 3.5), ("mid", 5.0)):
            for attack in ("ppa", "gmi") if defense != "mid" else ("ppa",):
                numbers = {"bits": metric(bits + seed / 10, unit="bits", ranks=[0, 2, 5, 9] * 12)}
                record = cell(defense, seed, text=text, attack=attack, metrics=numbers)
                controls = {
                    name: {**found, "bits": metric(level, unit="bits")}
                    for (name, found), level in zip(record.controls.items(), (8.5, 2.0, 6.1), strict=True)
                }
                made.append(record.model_copy(update={"controls": controls}))
    build_site(write_board(tmp_path / "boards", made, text), tmp_path / "out", LIBRARY, SETTINGS)
    home = tmp_path / "out/tiny/1.0"
    board = (home / "index.html").read_text(encoding="utf-8")
    assert "the required attacks (ppa, gmi)" in board
    assert "leakage (bits)" in board
    assert 'data-complete="without rank"' in board
    [mid] = (home / "rows").glob("*-mid-*.html")
    assert "--defense mid --attack gmi --seed 0 --seed 1 --seed 2" in mid.read_text(encoding="utf-8")
    assert "required · white-box" in (home / "matrix.html").read_text(encoding="utf-8")
