"""Numbers that are not finite are refused where they are published, told as text elsewhere, and harm no other cell."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from fake_plugin import parts

from mibench.api import SelfCheck
from mibench.nodes.reconstruct import ReconstructFiles
from mibench.protocol.request import Request
from mibench.results.io import load_record, verify_digest
from mibench.session import cell_results
from mibench.session.run import plan_request
from mibench.store.store import Store

NAN, INF = float("nan"), float("inf")


def _status(result):
    return {(record.cell.defense, record.cell.attack): record.status for record in result.records}


def _measuring(monkeypatch, change):
    """Let the metric ``light`` return what ``change`` makes of its measurement."""
    honest = parts.Light.measure
    monkeypatch.setattr(parts.Light, "measure", lambda self, *world: change(honest(self, *world)[0]))


WRONG = [
    (lambda row: [replace(row, value=NAN)], "measurement 'light', value: expected a finite number, got nan"),
    (lambda row: [replace(row, value=-INF)], "measurement 'light', value: expected a finite number, got -inf"),
    (lambda row: [replace(row, value="much")], "measurement 'light', value: expected a number, got 'much'"),
    (lambda row: [replace(row, per_class=[0.0, NAN, None])], r"per_class\[1\]: expected a finite number, got nan"),
    (lambda row: [replace(row, per_class=[0.0])], "expected per_class for 3 classes, got 1"),
    (lambda row: [replace(row, details={"a": {"b": [1, INF]}})], r"'light', details, a, b\[1\]: expected a finite"),
    (lambda row: [replace(row, details={"a": torch.zeros(2)})], "details, a: expected plain JSON, got tensor"),
    (lambda row: [replace(row, details={3: 4})], "details: expected text as key, got 3"),
    (lambda row: [row, row], "returned two measurements that are called 'light'"),
    (lambda row: [], "returned no measurement"),
    (lambda row: None, "returned a NoneType; expected a list of measurements"),
    (lambda row: [{"value": 1.0}], "returned a list with a dict; expected a Measurement"),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_a_metric_with_impossible_numbers_fails_by_name(toy_run, monkeypatch, change, says):
    _measuring(monkeypatch, change)
    result = toy_run()
    assert result.records[0].status == "failed"
    assert result.records[0].failure.error.startswith("the metric 'light'")
    assert result.records[0].failure.stage.startswith("light · ")
    assert re.search(says, result.records[0].failure.error)


def test_numbers_of_other_types_are_read(toy_run, monkeypatch):
    honest = toy_run().records[0].metrics["light"].value
    _measuring(monkeypatch, lambda row: (replace(row, value=torch.tensor(row.value, dtype=torch.float64)) for _ in "1"))
    record = toy_run(settings={"attack.lr": 0.1000001}).records[0]
    assert record.status == "done"
    assert record.metrics["light"].value == pytest.approx(honest, rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "trend"),
    [([INF, 1.0], {"not_finite": 3}), ([2.0, NAN, 1.0], {"loss_first": 2.0, "loss_last": 1.0})],
)
def test_a_loss_curve_that_is_not_finite_costs_no_result(toy_run, tmp_path, monkeypatch, loss, trend):
    honest = parts.Guess.reconstruct
    monkeypatch.setattr(parts.Guess, "reconstruct", lambda *a: replace(honest(*a), trace={"loss": loss}))
    result = toy_run()
    (path,) = result.record_paths
    record = load_record(path)
    assert verify_digest(record)
    assert record.ledger.trace.model_dump() == trend
    store = Store(tmp_path / "store")
    traces = store.get("reconstruct", result.planned.cells[0].reconstructions.key).json("trace.json")
    assert traces["0"]["loss"] == [value if math.isfinite(value) else None for value in loss]


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ({"loss": ["low"]}, "class 0, trace 'loss': expected a number, got 'low'"),
        ({"loss": 3.0}, "class 0, trace 'loss': expected a series of numbers, got a float"),
        ([1.0], "class 0: expected a trace of series by name, got a list"),
    ],
)
def test_a_trace_that_is_none_fails_the_cell(toy_run, monkeypatch, trace, says):
    honest = parts.Guess.reconstruct
    monkeypatch.setattr(parts.Guess, "reconstruct", lambda *a: replace(honest(*a), trace=trace))
    assert says in toy_run().records[0].failure.error


def test_a_ledger_that_holds_no_counts_fails_the_cell(toy_run, monkeypatch):
    honest = parts.Guess.reconstruct

    def spoil(self, label, shared, target, *world):
        target.ledger.forward += NAN
        return honest(self, label, shared, target, *world)

    monkeypatch.setattr(parts.Guess, "reconstruct", spoil)
    assert "expected a whole number of images as 'forward', got nan" in toy_run().records[0].failure.error


def test_signals_that_are_not_finite_are_told_as_text(toy_run, tmp_path, monkeypatch):
    honest = parts.Noisy.training_step
    monkeypatch.setattr(
        parts.Noisy, "training_step", lambda *a: replace(honest(*a), signals={"ratio": INF, "share": torch.tensor(NAN)})
    )
    monkeypatch.setattr(parts.Noisy, "self_check", lambda *_: SelfCheck(signals={"ratio": NAN, "n": 3}, reason="0/0"))
    result = toy_run(defenses=("noisy",))
    assert _status(result) == {("plain", "guess"): "done", ("noisy", "guess"): "done"}
    record = load_record(result.record_paths[1])
    assert record.self_check.model_dump() == {"active": True, "signals": {"ratio": "nan", "n": 3}, "reason": "0/0"}
    report = Store(tmp_path / "store").get("target", result.planned.cells[1].target.key).json("report.json")
    assert report["history"][0]["ratio"] == "inf"
    assert report["history"][0]["share"] == "nan"


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (None, "the self-check of the defense: expected a SelfCheck, got a NoneType"),
        (SelfCheck(signals={"a": "b"}), "'a': expected a number, got 'b'"),
    ],
)
def test_a_self_check_that_is_none_fails_the_cell(toy_run, monkeypatch, check, says):
    monkeypatch.setattr(parts.Noisy, "self_check", lambda *_: check)
    result = toy_run(defenses=("noisy",))
    assert _status(result) == {("plain", "guess"): "done", ("noisy", "guess"): "failed"}
    assert says in result.records[1].failure.error


def test_weights_that_are_not_finite_after_the_last_step_are_a_divergence(toy_run, monkeypatch):
    def spoil(self, model, ctx):
        if ctx.step == 5 * 3 - 1:
            next(model.parameters()).grad.fill_(NAN)

    monkeypatch.setattr(parts.Noisy, "on_gradients", spoil)
    result = toy_run(defenses=("noisy",))
    assert _status(result) == {("plain", "guess"): "done", ("noisy", "guess"): "failed"}
    assert "training diverged: after the last step" in result.records[1].failure.error


def test_a_prior_of_nan_is_a_divergence(toy_run, monkeypatch):
    finish = parts.LinearTrainer.finish

    def spoil(self):
        with torch.no_grad():
            self.prior.mean.fill_(NAN)
        return finish(self)

    monkeypatch.setattr(parts.LinearTrainer, "finish", spoil)
    assert "the prior's training diverged: mean holds NaN" in toy_run().records[0].failure.error


def test_older_artifacts_with_numbers_that_are_not_finite_are_readable(toy_run, tmp_path, monkeypatch):
    """What an earlier version wrote: NaN in JSON files, which Python reads."""
    whole = {"loss": [NAN, 1.0]}
    monkeypatch.setattr("mibench.stages.reconstruct.curves", lambda *_: whole)
    monkeypatch.setattr("mibench.stages.classes.save_json", _lax, raising=False)
    monkeypatch.setattr(ReconstructFiles, "write_json", _lax_json)
    record = load_record(toy_run().record_paths[0])
    assert record.ledger.trace.model_dump() == {"not_finite": 3}


def _lax_json(files, name, value):
    (files.folder / name).write_text(json.dumps(value))


def _lax(path, value):
    import hashlib

    sealed = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"content": value, "sha256": sealed}))


def test_a_record_that_cannot_be_made_fails_alone(toy_run, monkeypatch):
    honest = cell_results.make_record

    def one_breaks(cell, *given, **named):
        if cell.defense.name == "noisy":
            raise ValueError("no such record")
        return honest(cell, *given, **named)

    monkeypatch.setattr(cell_results, "make_record", one_breaks)
    result = toy_run(defenses=("noisy",))
    assert _status(result) == {("plain", "guess"): "done", ("noisy", "guess"): "failed"}
    failure = load_record(result.record_paths[1]).failure
    assert failure.stage == "record"
    assert failure.error.startswith("ValueError: no such record (at ")
    assert result.report.is_file()
    assert result.exit_code == 1
    assert [error for _, error in result.failures] == [failure.error]


def test_details_that_a_gallery_cannot_read_cost_its_pictures_alone(toy_run, monkeypatch, caplog):
    honest = parts.Match.measure

    def odd(self, evidence, ctx):
        return [replace(row, details={"nearest": [10**6] * row.n}) for row in honest(self, evidence, ctx)]

    monkeypatch.setattr(parts.Match, "measure", odd)
    result = toy_run()
    assert result.exit_code == 0
    assert result.report.is_file()
    assert "the report has no pictures of" in caplog.text


@pytest.mark.parametrize("cost", [NAN, INF])
def test_a_cost_that_is_no_number_leaves_the_estimate_open(toy_registry, tmp_path, monkeypatch, cost):
    monkeypatch.setattr(parts.Noisy, "cost", lambda self: cost)
    request = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",), store=tmp_path)
    plan = plan_request(request, toy_registry)
    target = plan.cells[1].target.key
    assert [planned.estimate_s for planned in plan.nodes if planned.key == target] == [None]


def test_progress_is_told_in_plain_numbers(toy_run, toy_registry):
    from mibench.api import hookimpl

    class Watcher:
        @hookimpl
        def mibench_stage_progress(self, node, done, total, unit, signals):
            json.dumps([done, total, unit, signals])
            told.append(signals)

    told = []
    honest = parts.Light.measure

    def telling(self, evidence, ctx):
        ctx.progress(torch.tensor(1), 2, "images", {"mean": torch.tensor(0.5)})
        return honest(self, evidence, ctx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.Light, "measure", telling)
        toy_registry.watch(Watcher())
        assert toy_run().exit_code == 0
    assert toy_registry.failures == []
    assert {"mean": 0.5} in told


def test_two_metrics_that_measure_the_same_make_no_record(toy_run, monkeypatch):
    honest = parts.Light.measure
    monkeypatch.setattr(parts.Light, "measure", lambda *a: [replace(row, name="near") for row in honest(*a)])
    failure = toy_run().records[0].failure
    assert failure.error == "two metrics of the protocol measure 'near'; one of them must be renamed"
