"""A study of the fake plugin from design to page: what is written when, what a killed one keeps, what is refused."""

import csv
import json

import pytest
from fake_plugin import parts

from mibench.api import TooFewRecords, UsageError
from mibench.cli.main import main
from mibench.session import run as session
from mibench.study import run as studies
from mibench.study.design import read_design
from mibench.study.page import write_index
from mibench.study.request import StudyRequest


@pytest.fixture()
def lottery(toy_registry, tmp_path, monkeypatch):
    monkeypatch.setenv("MIBENCH_THREADS", "1")

    def run(**fields):
        defaults = {"protocol": "toy", "attacks": ["guess"], "device": "cpu", "store": tmp_path / "store"}
        request = StudyRequest(name="lottery", **{**defaults, "output": tmp_path / "study", **fields})
        return studies.run_study(request, registry=toy_registry)

    return run


def test_arms_run_in_one_plan_and_the_page_has_everything(lottery, tmp_path):
    made = lottery()
    folder = tmp_path / "study"
    design = read_design(folder / "design.json").design
    by_arm = {arm.name: set(arm.seeds) for arm in design.arms if not arm.optional}
    found = {(cell.arm, cell.seed) for cell in made.evidence.cells}
    assert found == {(arm, seed) for arm, seeds in by_arm.items() for seed in seeds}
    assert {cell.defense for cell in made.evidence.cells if cell.arm == "treated"} == {"noisy"}
    assert made.evidence.absent[0][0] == "odd"
    assert "missing" in made.evidence.absent[0][1]
    page = made.page.read_text()
    assert "<script" not in page and made.findings.verdict.split()[0] in page and "odd is missing" in page
    assert {path.name for path in folder.iterdir()} >= {"study.html", "cells.csv", "figure.svg", "figure.png"}
    rows = list(csv.DictReader((folder / "cells.csv").read_text().splitlines()))
    assert len(rows) == 4 and float(rows[0]["leakage"]) >= 0
    told = json.loads((folder / "verdict.json").read_text())
    assert (told["answer"], told["rule"]) == (made.findings.answer, parts.Lottery.rule)


def test_the_design_is_written_before_the_first_training_and_kept(lottery, tmp_path, monkeypatch):
    folder, seen = tmp_path / "study", []

    def killed(*args, **kwargs):
        seen.append((folder / "design.json").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "_execute", killed)
    with pytest.raises(KeyboardInterrupt):
        lottery()
    monkeypatch.undo()
    monkeypatch.setenv("MIBENCH_THREADS", "1")
    monkeypatch.setattr(parts.Lottery, "design", lambda *_: pytest.fail("drawn again") if False else DRAWN_ANEW)
    made = lottery()
    assert (folder / "design.json").read_text() == seen[0]
    order = json.loads(seen[0])["design"]["notes"]["order"]
    assert {cell.seed for cell in made.evidence.cells if cell.arm == "treated"} == set(order[2:])


DRAWN_ANEW = parts.Design(arms=(parts.Arm(name="control", seeds=(9,)),))


def test_a_folder_belongs_to_one_study(lottery):
    lottery()
    with pytest.raises(UsageError, match=r"params differ.*--output"):
        lottery(settings={"seed": 5})


def test_records_that_exist_are_analysed_and_too_few_are_refused(lottery, tmp_path):
    first = lottery()
    again = lottery(records=(tmp_path / "study" / "records",), output=tmp_path / "other")
    assert again.findings.verdict == first.findings.verdict
    assert again.evidence.cells == first.evidence.cells
    for path in (tmp_path / "study" / "records").glob("*noisy*"):
        path.unlink()
    with pytest.raises(
        TooFewRecords, match=r"needs 2 records of the arm treated and has 0: 2 missing.*study run lottery"
    ):
        lottery(records=(tmp_path / "study" / "records",), output=tmp_path / "other")


def test_extra_metrics_make_a_protocol_of_their_own_and_targets_are_shared(lottery, tmp_path):
    lottery()
    made = lottery(settings={"extra": True}, output=tmp_path / "more")
    assert all("found" in {name.partition("@")[0] for name in cell.metrics} for cell in made.evidence.cells)
    assert "found" in (tmp_path / "more" / "protocol.yaml").read_text()
    targets = [node for node in made.records if node.status != "done"]
    assert targets == []
    with pytest.raises(UsageError, match=r"none of the 6 records is of toy@1\.0 as lottery runs it"):
        lottery(settings={"extra": True}, records=(tmp_path / "study" / "records",), output=tmp_path / "third")


def test_arms_that_cannot_be_planned_are_refused_unless_optional(lottery):
    with pytest.raises(UsageError, match=r"arm 'treated' of the study lottery: .*nosy"):
        lottery(settings={"arm": "nosy"})
    assert lottery().page  # what could not be planned has left no design behind


def test_pages_are_collected(lottery, tmp_path):
    lottery()
    index = write_index([tmp_path], tmp_path / "report")
    assert "lottery-toy@1.0/study.html" in index.read_text()
    assert (tmp_path / "report" / "lottery-toy@1.0" / "figure.png").is_file()
    assert write_index([tmp_path], tmp_path / "report") == index  # its own copies are not studies
    with pytest.raises(UsageError, match="no finished study"):
        write_index([tmp_path / "store"], tmp_path / "report")


def test_the_command_line(toy_registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIBENCH_THREADS", "1")
    monkeypatch.setattr("mibench.registry.registry.load_registry", lambda: toy_registry)
    monkeypatch.setattr("mibench.study.run.load_registry", lambda: toy_registry)
    own = ["--protocol", "toy", "-a", "guess", "--store", str(tmp_path / "store"), "--output", str(tmp_path / "study")]
    assert main(["study", "list"]) == 0
    assert main(["study", "show", "lottery"]) == 0
    assert main(["study", "run", "lottery", *own, "--dry-run"]) == 0
    assert not (tmp_path / "study").exists()
    shown = capsys.readouterr().out
    assert "It holds if their mean leakage is lower." in shown and "left out odd" in shown
    assert main(["study", "run", "lottery", *own, "--device", "cpu", "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] in ("holds", "does not hold")
    assert main(["study", "report", str(tmp_path / "study"), "--output", str(tmp_path / "report")]) == 0
