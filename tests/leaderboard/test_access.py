"""Boards for attackers who see less rank only what such attackers can run."""

from __future__ import annotations

from pathlib import Path

from record_factory import protocol_text
from site_factory import LIBRARY, SETTINGS, cell, write_board

from mibench.leaderboard.access import accesses
from mibench.leaderboard.board import load_board
from mibench.results.record import Record
from mibench.site import build_site


def attacked(defense: str, attack: str, access: str, level: float, *, baseline: bool = False) -> list[Record]:
    """Return three seeds of a defense under an attack of an access."""
    made = []
    for seed in (0, 1, 2):
        record = cell(defense, seed, level=level, attack=attack, text=TEXT)
        part = record.components["attack"].model_copy(update={"access": access, "baseline": baseline})
        made.append(record.model_copy(update={"components": {**record.components, "attack": part}}))
    return made


TEXT = protocol_text().replace("priors:", "  cma: {name: cma}\n  vote: {name: vote}\npriors:") + "suite: [ppa, cma]\n"
RECORDS = [
    *attacked("none", "ppa", "white-box", 0.8),
    *attacked("none", "cma", "scores", 0.6),
    *attacked("atat", "ppa", "white-box", 0.7),
    *attacked("atat", "cma", "scores", 0.2),
    *attacked("mid", "cma", "scores", 0.1),
    *attacked("mid", "topconf", "labels", 0.05, baseline=True),
]


def test_controls_are_no_attacks_of_any_access() -> None:
    assert accesses(RECORDS) == ["scores"]
    assert accesses(attacked("none", "vote", "labels", 0.5)) == ["scores", "labels"]


def test_ranks_are_those_of_what_such_attackers_achieve(tmp_path: Path) -> None:
    root = write_board(tmp_path, RECORDS, TEXT)
    [whole] = load_board(root).sections
    assert [(row.defense, bool(row.rank), row.worst_attack) for row in whole.rows] == [
        ("atat", True, "ppa"),
        ("none", True, "ppa"),
        ("mid", False, "cma"),  # it has not met ppa
    ]
    [scores] = load_board(root, access="scores").sections
    assert scores.suite == ("cma",)
    assert [(row.defense, row.worst_attack) for row in scores.rows] == [
        ("mid", "cma"),
        ("atat", "cma"),
        ("none", "cma"),
    ]
    assert all(row.rank for row in scores.rows)
    [labels] = load_board(root, access="labels").sections
    assert labels.rows == ()


def test_a_site_has_a_page_for_each(tmp_path: Path) -> None:
    build_site(write_board(tmp_path / "boards", RECORDS, TEXT), tmp_path / "out", LIBRARY, SETTINGS)
    home = tmp_path / "out/tiny/1.0"
    pages = sorted(path.name for path in home.glob("*.html"))
    assert pages == ["index.html", "matrix.html", "scores.html"]
    for name in ("index.html", "scores.html"):
        text = (home / name).read_text(encoding="utf-8")
        assert 'href="scores.html"' in text
        assert "attackers who see scores" in text
