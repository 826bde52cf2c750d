"""What a study leaves behind: a page, figures, tables and the verdict, each as a file of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mibench.api.errors import UsageError
from mibench.api.study import Figure, Findings, StudyEvidence
from mibench.base.csv_text import csv_text
from mibench.base.files import write_atomic
from mibench.base.version import __version__
from mibench.results.display import DASH, printable

PAGE, VERDICT = "study.html", "verdict.json"


@dataclass(frozen=True)
class Stated:
    """What a page says before any number.

    Attributes:
        study: name.
        claim: what was put to the test.
        rule: when the answer is which.
        command: repeats the study.
    """

    study: str
    claim: str
    rule: str
    command: str


def write_page(folder: Path, stated: Stated, evidence: StudyEvidence, findings: Findings) -> Path:
    """Write the page of a study, and beside it a PNG and SVG of each figure, a CSV of each table, and ``verdict.json``.

    Returns:
        The page, one file that asks the network for nothing.
    """
    for name, table in findings.tables.items():
        write_atomic(folder / f"{name}.csv", csv_text(table.columns, table.rows))
    for name, figure in findings.figures.items():
        write_atomic(folder / f"{name}.svg", figure.svg.decode())
        _write_bytes(folder / f"{name}.png", figure.png)
    seeds = sorted({cell.seed for cell in evidence.cells})
    told = {
        "study": stated.study,
        "claim": stated.claim,
        "rule": stated.rule,
        "protocol": evidence.protocol,
        "headline": evidence.headline,
        "answer": findings.answer,
        "verdict": findings.verdict,
        "cells": len(evidence.cells),
        "seeds": seeds,
        "absent": [list(pair) for pair in evidence.absent],
        "notes": list(findings.notes),
        "command": stated.command,
    }
    write_atomic(folder / VERDICT, json.dumps(told, indent=1) + "\n")
    text = _template("study.html").render(
        version=__version__,
        told=told,
        tables=[
            (name, table, [[_shown(cell) for cell in row] for row in table.rows])
            for name, table in findings.tables.items()
        ],
        figures=[(name, figure, _source(figure)) for name, figure in findings.figures.items()],
        absent=[(printable(name), printable(reason, 500)) for name, reason in evidence.absent],
    )
    return write_atomic(folder / PAGE, text)


def write_index(folders: Sequence[Path], output: Path) -> Path:
    """Collect the pages of studies in one folder with an index, and return the index.

    Args:
        folders: of finished studies, or folders that hold such.
        output: where to.

    Raises:
        UsageError: if there is no finished study among them.
    """
    found = sorted({path.parent for folder in folders for path in folder.rglob(VERDICT) if output not in path.parents})
    if not found:
        places = ", ".join(map(str, folders))
        raise UsageError(f"no finished study in {places}; run one first: mibench study run NAME")
    rows = []
    for folder in found:
        told = _read_verdict(folder / VERDICT)
        name = f"{told['study']}-{told['protocol']}".replace("/", "_")
        for path in sorted(folder.iterdir()):
            if path.suffix in {".html", ".csv", ".svg", ".png"} or path.name in {VERDICT, "design.json"}:
                _write_bytes(output / name / path.name, path.read_bytes())
        rows.append((f"{name}/{PAGE}", told))
    return write_atomic(output / "index.html", _template("index.html").render(version=__version__, rows=rows))


def _read_verdict(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {**told, "study": str(told["study"]), "protocol": str(told["protocol"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not the verdict of a study: {error}") from None


def _source(figure: Figure) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg).decode()}"


def _shown(cell: Any) -> str:
    if cell is None:
        return DASH
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:.0f}"
    return printable(str(cell), 200)


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _template(name: str) -> Any:
    environment = Environment(
        loader=PackageLoader("mibench.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
