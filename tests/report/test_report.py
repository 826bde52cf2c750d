"""The report: complete, self-contained, readable by anybody, and deaf to hostile text."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from record_factory import component, make_record, metric

from mibench.report import Gallery, GalleryRow, write_report
from mibench.report.chart import NamedNumber, leakage_chart
from mibench.report.gallery import MAX_IMAGES, MAX_ROWS, data_uri
from mibench.report.write import render_report
from mibench.results.io import label
from mibench.results.record import Failure, Flag

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{ 7*7 }}"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def picture(value: int = 100, channels: int = 3, side: int = 16) -> np.ndarray:
    return np.full((side, side, channels), value, np.uint8)


def gallery_of(record, rows: int = 2) -> Gallery:
    row = GalleryRow("class 0", picture(10, 1), [picture(200), picture(50, 1)], ["score .9"], [True, False])
    return Gallery(label(record), [row] * rows)


def test_holds_everything(tmp_path: Path) -> None:
    record = make_record(flags=[Flag(id="few-classes", text="only a few")])
    path = write_report(tmp_path / "report.html", [record], [gallery_of(record)], [("stage x", "out of memory")])
    text = path.read_text(encoding="utf-8")
    low, high = record.metrics["reid@1"].ci95 or (0, 0)
    for part in (
        f".30 [{low:.2f} {high:.2f}]".replace("0.", "."),
        "few-classes",
        "only a few",
        "targeted_success",
        "backward",
        record.digest,
        record.cell.key,
        record.protocol.digest,
        record.command,
        "mibench-tests 1.0",
        "lam=0.08",
        "Responsible use",
        "out of memory",
        "robust ε=0.5 ↑",
        "✓ re-identified",
        "✗ not re-identified",
        "floor .10",
        "gold .90",
    ):
        assert part in text, part


def test_is_well_formed_and_accessible() -> None:
    record = make_record()
    page = Page(render_report([record], [gallery_of(record)]))
    assert page.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("img")) == 6
    assert len(page.all("caption")) == len(page.all("table"))
    assert {cell.get("scope") for cell in page.all("th")} == {"row", "col"}
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in page.all("svg"))
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    for svg in page.all("svg"):
        assert set((svg["aria-labelledby"] or "").split()) <= set(identifiers)
    assert {link["href"] for link in page.all("a")} <= {f"#{identifier}" for identifier in identifiers}


def test_asks_the_network_for_nothing() -> None:
    record = make_record()
    text = render_report([record], [gallery_of(record)])
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.all("img"))
    assert not re.search(r"https?://|url\(|@import", text)
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in text


def test_hostile_text_is_escaped() -> None:
    base = make_record()
    record = make_record(
        defense=HOSTILE,
        attack=HOSTILE,
        model=HOSTILE,
        params={HOSTILE: HOSTILE},
        flags=[Flag(id=HOSTILE, text=HOSTILE)],
        self_check={"signals": {HOSTILE: HOSTILE}, "reason": HOSTILE},
        ledger={"failed": {HOSTILE: HOSTILE}, "chosen_by": HOSTILE},
        environment={HOSTILE: HOSTILE, "packages": {HOSTILE: [HOSTILE]}},
        inputs={HOSTILE: HOSTILE},
        timings={HOSTILE: 1.0},
        command=HOSTILE,
        metrics={HOSTILE: metric(0.5).model_copy(update={"unit": HOSTILE, "group": HOSTILE})},
        components={**base.components, HOSTILE: component(HOSTILE, HOSTILE)},
        protocol=base.protocol.model_copy(update={"name": HOSTILE, "version": HOSTILE, "digest": HOSTILE}),
    )
    failed = record.model_copy(update={"status": "failed", "failure": Failure(stage=HOSTILE, error=HOSTILE)})
    row = GalleryRow(HOSTILE, picture(), [picture()], [HOSTILE], [True])
    galleries = [Gallery(label(record), [row]), Gallery(HOSTILE, [row])]
    text = render_report([record, failed], galleries, [(HOSTILE, HOSTILE)])
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert "{{ 7*7 }}" in text
    assert "49" not in re.findall(r">([^<]*7\*7[^<]*|49)<", text)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    record = make_record()
    first = write_report(tmp_path / "a.html", [record], [gallery_of(record)]).read_bytes()
    assert write_report(tmp_path / "b.html", [record], [gallery_of(record)]).read_bytes() == first


def test_cells_that_differ_in_parameters_keep_their_pictures_and_names() -> None:
    records = [make_record(params={"lam": lam}) for lam in (0.08, 0.2)]
    rows = [GalleryRow(name, picture(), [picture()]) for name in ("class of one", "class of two")]
    text = render_report(records, [Gallery(label(record), [row]) for record, row in zip(records, rows, strict=True)])
    cells = text.split("<section")[1:]
    assert ["class of one" in cell for cell in cells] == [True, False]
    assert ["class of two" in cell for cell in cells] == [False, True]
    assert "atat (lam=0.08) × ppa" in text


def test_failed_cells_and_nothing_at_all() -> None:
    failed = make_record().model_copy(
        update={"status": "failed", "failure": Failure(stage="target", error="no memory")}
    )
    text = render_report([failed], failures=[("other", "reason")])
    assert "target: no memory" in text
    assert "No cell has finished." in text
    Page(text)
    Page(render_report([]))


def test_pictures_without_a_private_image_or_record() -> None:
    text = render_report([], [Gallery("alone", [GalleryRow("class 0", None, [picture()])])])
    assert "alone" in text
    assert "nearest private image" not in text
    assert 'alt="class 0: reconstruction 1"' in text


def test_galleries_are_bounded() -> None:
    record = make_record()
    row = GalleryRow("class", picture(), [picture()] * 20)
    page = Page(render_report([record], [Gallery(label(record), [row] * 50)]))
    assert len(page.all("img")) == MAX_ROWS * (MAX_IMAGES + 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_keep_their_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, channels), dtype=np.uint8)
    data = base64.b64decode(data_uri(pixels).partition(",")[2])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))).reshape(pixels.shape), pixels)


def test_large_pictures_shrink() -> None:
    data = base64.b64decode(data_uri(picture(side=1024)).partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (160, 160)


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)])
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        data_uri(bad)


def test_charts_are_drawn_to_scale() -> None:
    chart = leakage_chart([NamedNumber("a", 0.25, (0.2, 0.3)), NamedNumber("b", 0.5, None)], floor=0.1, gold=0.9)
    assert chart
    one, two = chart.bars
    assert two.width == pytest.approx(2 * one.width)
    assert one.whisker
    assert one.whisker[0] < one.x + one.width < one.whisker[1]
    assert two.whisker is None
    assert [line.name for line in chart.lines] == ["floor .10", "gold .90"]
    assert chart.description == "a .25 [.20 .30]; b .50; floor .10; gold .90"
    assert leakage_chart([], 0.1, 0.9) is None


@pytest.mark.parametrize(("value", "floor", "gold"), [(-0.5, None, None), (0.0, 0.0, 0.0), (150.0, 200.0, 10.0)])
def test_charts_of_other_ranges_stay_inside(value: float, floor: float | None, gold: float | None) -> None:
    chart = leakage_chart([NamedNumber("a", value, None)], floor, gold)
    assert chart
    [bar] = chart.bars
    assert bar.width >= 0
    assert bar.x >= 0
    assert bar.x + bar.width <= chart.width


@pytest.mark.parametrize("controls", [("undefended", "floor", "gold"), ("undefended", "floor", "lookalike", "gold")])
def test_every_number_stands_under_its_heading(controls):
    values = dict(zip(controls, (0.31, 0.12, 0.13, 0.94), strict=False))
    record = make_record(defense="atat", attack="ppa")
    name = record.protocol.headline
    record = record.model_copy(update={"controls": {which: {name: metric(value)} for which, value in values.items()}})
    for table in re.findall(r"<table.*?</table>", render_report([record]), re.DOTALL):
        headings = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1 if headings else 0 :]:
            cells = re.findall(r"<t[dh][ >]", row)
            assert not headings or len(cells) == len(headings), (headings, row)
        if "this cell" in headings:
            (row,) = re.findall(rf'<th scope="row">{re.escape(name)}</th>(.*?)</tr>', table, re.DOTALL)
            numbers = [float(number) for number in re.findall(r"<td>([.\d]+)", row)]
            assert dict(zip(headings[2:], numbers[1:], strict=True)) == values
            break
    else:
        pytest.fail("no table of controls")
