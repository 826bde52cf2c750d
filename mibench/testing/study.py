"""The contract of studies: a design on a made-up protocol, and records without any effect, too few and enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar
from unittest import SkipTest

from mibench.api.quantity import Quantity
from mibench.api.study import (
    Design,
    Findings,
    Number,
    Study,
    StudyContext,
    StudyEvidence,
    TooFewRecords,
)
from mibench.testing.checks import require
from mibench.testing.component import ComponentContract

SEEDS = (0, 1, 2)
ANSWERS = ("holds", "does not hold", "cannot be told")


class StudyContract(ComponentContract):
    """Subclass, set ``component``, and run with pytest.

    Attributes:
        defenses: installed defenses by name, with their families, as the design sees them.
        parameters: what each of them has under the protocol, by ``name`` or ``name/preset``; 1.0 for what is not there.
        evidence: enough records for a verdict; ``None`` skips the checks of the analysis.
    """

    defenses: ClassVar[Mapping[str, str]] = {}
    parameters: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    evidence: ClassVar[StudyEvidence | None] = None

    def context(self) -> StudyContext:
        """Return what the design is told."""
        return StudyContext(
            protocol="tiny@1.0",
            undefended="none",
            seeds=SEEDS,
            defenses=self.defenses,
            settled=lambda text: self.parameters.get(text, _Ones()),
        )

    def test_claim_and_rule_are_stated(self) -> None:
        """The claim and the rule of the verdict are sentences."""
        for name in ("claim", "rule"):
            text = getattr(self.component, name, "")
            require(isinstance(text, str) and text.rstrip().endswith("."), f"{name} is {text!r}, expected a sentence")

    def test_design_is_drawn_alike_every_time(self) -> None:
        """Two designs for the same protocol are equal, and plain JSON."""
        study: Study = self.make()
        first, again = (study.design(self.context()) for _ in range(2))
        require(isinstance(first, Design), f"design() gave a {type(first).__name__}, expected a Design")
        require(first == again, "two designs for the same protocol differ; draw from a parameter of the study")
        json.dumps(asdict(first), allow_nan=False)

    def test_extra_metrics_are_metrics(self) -> None:
        """What is measured beside the protocol's metrics has names of its own."""
        study: Study = self.make()
        names = [metric.name for metric in study.metrics()]
        require(len(set(names)) == len(names), f"metrics are named twice: {names}")
        require(study.variant in ("test", "validation"), f"variant is {study.variant!r}")

    def test_too_few_records_are_refused(self) -> None:
        """An analysis of nothing says how many records are missing, and the command that makes them."""
        study: Study = self.make()
        empty = StudyEvidence(
            study="tested",
            protocol="",
            headline="",
            unit="",
            design=study.design(self.context()),
            cells=(),
            command="mibench study run tested",
        )
        try:
            study.analyse(empty)
        except TooFewRecords as error:
            require(
                "missing" in str(error) and empty.command in str(error), f"it does not say what is missing: {error}"
            )
        else:
            raise AssertionError("it came to a verdict without a record")

    def test_findings_are_complete(self) -> None:
        """There is an answer, a verdict, a table whose rows fit its columns, and a figure as SVG and PNG."""
        found = self._findings()
        require(found.answer in ANSWERS, f"the answer is {found.answer!r}, expected one of {ANSWERS}")
        require(len(found.verdict) > 20, f"the verdict is {found.verdict!r}")
        require(bool(found.tables), "there is no table")
        for name, table in found.tables.items():
            wrong = [row for row in table.rows if len(row) != len(table.columns)]
            require(not wrong, f"a row of {name} has not {len(table.columns)} cells")
        require(bool(found.figures), "there is no figure")
        for name, figure in found.figures.items():
            require(b"<svg" in figure.svg[:2000], f"{name} has no SVG")
            require(figure.png.startswith(b"\x89PNG"), f"{name} has no PNG")
            require(bool(figure.description), f"{name} does not say what it shows")

    def test_the_same_records_give_the_same_findings(self) -> None:
        """The analysis draws nothing of its own."""
        first, again = self._findings(), self._findings()
        require(
            (first.answer, first.verdict) == (again.answer, again.verdict), "two verdicts on the same records differ"
        )
        require(first.tables == again.tables, "two analyses of the same records give other tables")
        same = all(figure.svg == again.figures[name].svg for name, figure in first.figures.items())
        require(same, "two analyses of the same records draw other figures")

    def _findings(self) -> Findings:
        if self.evidence is None:
            raise SkipTest("there are no records to analyse; set `evidence`")
        study: Study = self.make()
        return study.analyse(self.evidence)


class _Ones(dict[str, Any]):
    def __missing__(self, key: str) -> float:
        return 1.0


def made_up_number(value: float, **stated: Any) -> Number:
    """Return a number for evidence that is made up: fields of :class:`Quantity` say what it is."""
    return Number(value=value, ci95=None, unit="fraction", higher_is_better=False, quantity=Quantity(**stated))
