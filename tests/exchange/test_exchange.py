"""Boards in the formats of others, against their own schemas and against calculations by hand."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from site_factory import cell, hostile_records, records, write_board

from mibench.exchange.cite import bibtex_keys, cite_row, row_key, row_slug, tex
from mibench.exchange.every_eval import Source
from mibench.exchange.export import FORMATS, Target
from mibench.leaderboard.board import ProtocolBoard, load_board

HERE = Path(__file__).parent
TARGET = Target(Source("mibench", "other", "", "2026-11-29"), "https://boards.example/", "some/benchmark")


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> ProtocolBoard:
    return load_board(write_board(tmp_path_factory.mktemp("boards"), records())).sections[0]


def test_formats_are_those_of_the_command() -> None:
    from mibench.cli.export import NAMES

    assert tuple(FORMATS) == NAMES


def test_anybody_can_compute_a_row_from_the_values_of_people(section: ProtocolBoard) -> None:
    [(_, text)] = FORMATS["cells"](section, TARGET)
    row = next(row for row in section.rows if row.defense == "negls")
    lines = [line for line in csv.DictReader(text.splitlines()) if line["defense"] == "negls"]
    assert len(lines) == 3 * 12
    assert np.mean([float(line["reid@1"]) for line in lines]) == pytest.approx(row.leakage.value, abs=1e-9)
    undefended = np.mean([float(line["undefended:reid@1"]) for line in lines])
    assert row.difference
    assert row.leakage.value - undefended == pytest.approx(row.difference.value, abs=1e-9)
    assert {line["params_digest"] for line in lines} == {row.params_digest}


@pytest.mark.parametrize("hostile", [False, True])
def test_every_eval_ever_accepts_every_row(tmp_path: Path, hostile: bool) -> None:
    fastjsonschema = pytest.importorskip("fastjsonschema")
    schema = json.loads((HERE / "every_eval_ever-0.3.0.schema.json").read_text(encoding="utf-8"))
    check = fastjsonschema.compile(schema)
    root = write_board(tmp_path, hostile_records() if hostile else records())
    [section] = load_board(root).sections
    found = dict(FORMATS["every-eval-ever"](section, TARGET))
    assert len(found) == len(section.rows)
    for name, text in found.items():
        assert all(part and not part.startswith(".") for part in name.split("/"))
        check(json.loads(text))
    if not hostile:
        row = section.rows[0]
        lead = json.loads(found[next(name for name in found if row_slug(row) in name)])["evaluation_results"][0]
        assert lead["metric_config"]["lower_is_better"] is True
        assert lead["score_details"]["score"] == row.leakage.value
        interval = lead["score_details"]["uncertainty"]["confidence_interval"]
        assert (interval["lower"], interval["upper"]) == row.leakage.ci95


def test_hugging_face_takes_high_for_good(section: ProtocolBoard) -> None:
    found = dict(FORMATS["huggingface"](section, TARGET))
    assert len(found) == 5
    for row in section.rows:
        [name] = [name for name in found if name.startswith(row_slug(row))]
        [entry] = yaml.safe_load(found[name])
        assert entry["value"] == pytest.approx(100 * (1 - row.leakage.value), abs=1e-3)
        assert entry["dataset"] == {"id": "some/benchmark", "task_id": "tiny-1.0"}
        assert section.digest[:12] in entry["notes"]
        assert entry["source"]["url"] == "https://boards.example/tiny/1.0/"


def test_rows_without_a_rank_go_to_no_other_board(tmp_path: Path) -> None:
    weak = [cell("none", seed, attack="gmi") for seed in (0, 1, 2)]  # the protocol lists another attack
    [section] = load_board(write_board(tmp_path, weak)).sections
    assert [row.rank for row in section.rows] == [0]
    assert dict(FORMATS["huggingface"](section, TARGET)) == {}


def test_croissant_describes_the_files_as_they_are(section: ProtocolBoard) -> None:
    [(_, text)] = FORMATS["croissant"](section, TARGET)
    made: Any = json.loads(text)
    [(_, cells)] = FORMATS["cells"](section, TARGET)
    files = {one["name"]: one for one in made["distribution"]}
    assert files["cells.csv"]["sha256"] == hashlib.sha256(cells.encode()).hexdigest()
    assert files["cells.csv"]["contentUrl"] == "https://boards.example/tiny/1.0/cells.csv"
    fields = {one["name"]: one["dataType"] for group in made["recordSet"] for one in group["field"]}
    kinds = {name: fields[name] for name in ("person", "reid@1", "defense", "seed", "params_digest")}
    assert kinds == {"person": "sc:Integer", "reid@1": "sc:Float", "defense": "sc:Text", "seed": "sc:Integer",
                     "params_digest": "sc:Text"}  # fmt: skip
    assert [next(csv.reader([cells.splitlines()[0]]))] == [[one["name"] for one in made["recordSet"][1]["field"]]]


def test_a_citation_has_one_key_and_balanced_braces(section: ProtocolBoard, tmp_path: Path) -> None:
    [hostile] = load_board(write_board(tmp_path, hostile_records()[-1:])).sections
    for row in (*section.rows, *hostile.rows):
        text = cite_row(row, section.digest, row_slug(row), "https://boards.example/x.html")
        assert bibtex_keys(text) == [row_key(row, row_slug(row))]
        plain = text.replace(r"\{", "").replace(r"\}", "")
        assert plain.count("{") == plain.count("}")
        assert section.digest[:12] in text


def test_tex_escapes_what_latex_reads() -> None:
    assert tex("50% of a_b & {c} ~^\\") == r"50\% of a\_b \& \{c\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
