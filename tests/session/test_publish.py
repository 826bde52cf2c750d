"""From a run to a board: what is refused before hours of work, why records are refused, and all or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_plugin import PROTOCOL

from mibench.api import UsageError
from mibench.leaderboard import RefusedError, load_board
from mibench.results.io import load_record, seal
from mibench.session.publish import publish, refusal
from mibench.session.run import plan_request


def test_an_experiment_is_refused_before_anything_runs(toy_run: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(PROTOCOL.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"--publish: .*mine\.yaml is a file; boards take the protocols of installed"):
        toy_run(protocols=(str(mine),), publish=tmp_path / "boards")
    assert not list((tmp_path / "store" / "artifacts").glob("*"))
    assert not (tmp_path / "boards").exists()


def test_the_first_broken_rule_is_told(toy_run: Any) -> None:
    result = toy_run()
    (record,), (cell,) = result.records, result.planned.cells
    assert refusal(record, cell) == ""
    edited = seal(record.model_copy(update={"command": " "}))
    assert refusal(edited, cell).startswith("MB701 command: expected the command that repeats the cell")
    twice = seal(edited.model_copy(update={"inputs": {}}))
    assert refusal(twice, cell).startswith("MB106 inputs.data: expected the sha256 of an artifact")


def test_failed_cells_stay_off_the_board_and_finished_ones_go_on_it(
    toy_run: Any, toy_registry: Any, tmp_path: Path
) -> None:
    result = toy_run(defenses=("broken",), publish=tmp_path / "boards")
    assert [record.status for record in result.records] == ["done", "failed"]
    assert [load_record(path).cell.defense for path in result.published] == ["plain"]
    assert result.exit_code == 1
    again = publish(tmp_path / "boards", result.planned, toy_registry, result.records, result.record_paths)
    assert again == list(result.published)  # the same numbers once more are no news


def test_one_refused_record_keeps_all_out(toy_run: Any, toy_registry: Any, tmp_path: Path) -> None:
    result = toy_run(defenses=("noisy",))
    edited = load_record(result.record_paths[1])
    value = edited.metrics["light"].model_copy(update={"unit": "lux"})
    result.record_paths[1].write_text(
        edited.model_copy(update={"metrics": {**edited.metrics, "light": value}}).model_dump_json(), encoding="utf-8"
    )
    with pytest.raises(RefusedError, match=r"nothing was added:\n.*MB201 digest"):
        publish(tmp_path / "boards", result.planned, toy_registry, result.records, result.record_paths)
    with pytest.raises(UsageError, match="holds no leaderboard"):
        load_board(tmp_path / "boards")


def test_a_plan_that_only_looks_publishes_nothing(toy_registry: Any, tmp_path: Path) -> None:
    from mibench.protocol.request import Request

    request = Request(
        protocols=("toy",), defenses=("plain",), attacks=("guess",), store=tmp_path, publish=tmp_path / "boards"
    )
    assert plan_request(request, toy_registry).to_run
    assert not (tmp_path / "boards").exists()
