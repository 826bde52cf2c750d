"""What metrics announce reaches records: roles of numbers under names of their own, sentences of flags, and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fake_plugin
import pytest
from fake_plugin import PROTOCOL, parts

from mibench.api import Column, Measurement, MetricFlag, Quantity, hookimpl
from mibench.assemble.columns import check_columns
from mibench.assemble.recheck import Recheck
from mibench.cli.tables import result_tables
from mibench.leaderboard.rules import check_record
from mibench.plan.cells import Cell
from mibench.protocol.load import parse_protocol
from mibench.registry.registry import Registry
from mibench.results.columns import attack_accuracies, clean_accuracy
from mibench.results.io import load_record, seal
from mibench.results.record import MetricValue, Record

HITS = (Column(name="accuracy", higher_is_better=True, images="heldout"),)
MATCH = (
    Column(name="match@1", role="attack_accuracy", k=1, base="match", evaluator="judge"),
    Column(name="near", unit="cosine", low=-1.0),
)
LIGHT = (Column(name="light", unit="brightness", higher_is_better=True, high=2.0),)
DARK = MetricFlag(id="too-dark", detail="darkness", above=0.5, text="{detail:.0%} of the light is missing")
ALL: dict[str, Any] = {"hits": HITS, "match": MATCH, "light": LIGHT}


def announcing(monkeypatch: pytest.MonkeyPatch, flags: tuple[MetricFlag, ...] = (), **columns: Any) -> Registry:
    """Return the plugin's registry, in which metrics announce columns."""
    specs = [
        replace(spec, columns=columns.get(spec.name, ()), flags=flags if spec.name == "light" else ())
        for spec in fake_plugin.mibench_metrics()
    ]
    monkeypatch.setattr(fake_plugin, "mibench_metrics", hookimpl(lambda: specs))
    return fake_plugin.registry()


def measuring(monkeypatch: pytest.MonkeyPatch, metric: Any, change: Callable[[Measurement], Measurement]) -> None:
    honest = metric.measure
    monkeypatch.setattr(metric, "measure", lambda self, *world: [change(row) for row in honest(self, *world)])


def first(result: Any) -> tuple[Record, Cell]:
    assert [record.failure for record in result.records] == [None] * len(result.records)
    return result.records[0], result.planned.cells[0]


def with_metric(record: Record, name: str, **changes: Any) -> Record:
    value = record.metrics[name].model_copy(update=changes)
    return record.model_copy(update={"metrics": {**record.metrics, name: value}})


def texts(record: Record, cell: Cell) -> list[str]:
    return [finding.text for finding in check_columns(record, cell)]


def test_a_metric_that_announces_nothing_is_read_by_its_names(toy_run: Any) -> None:
    record, cell = first(toy_run())
    assert {metric.quantity for metric in record.metrics.values()} == {None}
    assert attack_accuracies(record.metrics) == {}
    assert clean_accuracy(record.metrics) is record.metrics["accuracy"]
    assert texts(record, cell) == []


def test_an_announced_role_is_kept_where_the_name_does_not_say_it(
    toy_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = toy_run(registry=announcing(monkeypatch, **ALL))
    record, cell = first(result)
    meant = Quantity(role="attack_accuracy", base="match", k=1, evaluator="judge")
    assert {name for name, metric in record.metrics.items() if metric.quantity} == {"match@1"}
    assert record.metrics["match@1"].quantity == meant
    assert {metrics["match@1"].quantity for metrics in record.controls.values()} == {meant}
    assert texts(record, cell) == []
    again = load_record(result.record_paths[0])
    assert attack_accuracies(again.metrics) == {"judge": record.metrics["match@1"]}
    loaded = parse_protocol(PROTOCOL.read_text(encoding="utf-8"))
    assert check_record(again, loaded) == []  # by the record alone, whatever is installed
    [table] = result_tables([again])
    assert table.titles[:3] == ["", "match@1", "top-1"]  # the headline is the attack accuracy, so it stands once


def test_what_a_measurement_states_needs_no_announcement(toy_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def state(row: Measurement) -> Measurement:
        return replace(row, role="re_identification", k=1) if row.name == "near" else row

    measuring(monkeypatch, parts.Match, state)
    record, cell = first(toy_run())
    assert record.metrics["near"].quantity == Quantity(role="re_identification", base="re_identification", k=1)
    assert record.metrics["match@1"].quantity is None
    assert texts(record, cell) == []


def flagged(record: Record, **details: Any) -> Record:
    return with_metric(record, "light", details=details)


def test_a_flag_has_the_announced_sentence(toy_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring(monkeypatch, parts.Light, lambda row: replace(row, details={"darkness": 0.75, "flags": ["too-dark"]}))
    record, cell = first(toy_run(registry=announcing(monkeypatch, (DARK,), **ALL)))
    assert {flag.id: flag.text for flag in record.flags}["too-dark"] == "75% of the light is missing"
    assert texts(record, cell) == []
    silent = flagged(record, darkness=0.75, flags=[])
    assert texts(silent, cell) == [
        "metrics.light.details.flags: expected 'too-dark', for darkness is 0.75, got []; run the record's command "
        "again: what is cached is reused, and the record is made anew"
    ]
    assert len(texts(flagged(record, darkness=0.5, flags=["too-dark"]), cell)) == 1
    assert len(texts(flagged(record, darkness=True), cell)) == 1
    assert texts(flagged(record, darkness=0.5, flags=["theirs"]), cell) == []
    assert texts(flagged(record), cell) == []


OTHER = Quantity(role="accuracy", base="match", k=1)
EDITS: list[tuple[str, dict[str, Any], str]] = [
    ("match@1", {"quantity": OTHER}, r"metrics.match@1.quantity: expected {'role': 'attack_accuracy', 'base': 'match'"),
    ("match@1", {"quantity": None}, "metrics.match@1.quantity: expected {'role': 'attack_accuracy'"),
    ("light", {"quantity": OTHER}, "metrics.light.quantity: expected {'base': 'light'}, got {'role': 'accuracy'"),
    ("light", {"unit": "lux"}, "metrics.light.unit: expected brightness, got lux"),
    ("light", {"higher_is_better": False}, "metrics.light.higher_is_better: expected True, got False"),
    ("near", {"group": "utility"}, "metrics.near.group: expected leakage, got utility"),
    ("light", {"value": 7.0}, "metrics.light: expected values from 0.0 to 2.0, got 7.0"),
    ("near", {"n": 99}, "metrics.near.n: expected 6 images as in its neighbours, got 99"),
]


@pytest.fixture()
def sound(toy_run: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Record, Cell]:
    return first(toy_run(registry=announcing(monkeypatch, **ALL)))


def test_numbers_that_are_not_what_was_announced_are_found(sound: tuple[Record, Cell]) -> None:
    record, cell = sound
    for name, changes, expected in EDITS:
        found = texts(with_metric(record, name, **changes), cell)
        assert any(text.startswith(expected) for text in found), (expected, found)


def test_columns_that_are_missing_or_unknown_are_found(sound: tuple[Record, Cell]) -> None:
    record, cell = sound
    fewer = {name: value for name, value in record.metrics.items() if name != "near"}
    [missing] = texts(record.model_copy(update={"metrics": fewer}), cell)
    assert missing.startswith("metrics.near: expected what the metric 'match' measured, got nothing")
    more: dict[str, MetricValue] = {**record.metrics, "mine": record.metrics["light"]}
    [unknown] = texts(record.model_copy(update={"metrics": more}), cell)
    assert unknown.startswith("metrics.mine: expected a column that a metric of the protocol reports, got another")
    [in_control] = texts(record.model_copy(update={"controls": {**record.controls, "gold": {}}}), cell)[:1]
    assert in_control.startswith("controls.gold.match@1: expected what the metric 'match' measured")


def test_columns_of_metrics_that_are_left_are_not_compared(sound: tuple[Record, Cell]) -> None:
    record, cell = sound
    edited = with_metric(record, "light", unit="lux")
    assert check_columns(edited, cell, left={"metric:light"}) == []
    unknown = record.model_copy(update={"metrics": {**record.metrics, "mine": record.metrics["light"]}})
    assert check_columns(unknown, cell, left={"metric:light"}) == []  # it may be one of those


def test_a_recheck_refuses_another_meaning(toy_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = announcing(monkeypatch, **ALL)
    record, _ = first(toy_run(registry=registry))
    loaded = parse_protocol(PROTOCOL.read_text(encoding="utf-8"))
    recheck = Recheck(registry)
    assert recheck.findings(record, loaded) == []
    forged = seal(with_metric(record, "light", quantity=OTHER))
    assert [finding.id for finding in recheck.findings(forged, loaded)] == ["MB614"]


def test_a_column_without_bounds_takes_any_number(toy_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    near = replace(MATCH[1], low=None)
    record, cell = first(toy_run(registry=announcing(monkeypatch, **{**ALL, "match": (MATCH[0], near)})))
    assert texts(record, cell) == []
    flat = {"per_class": [-7.5] * len(record.metrics["near"].per_class), "value": -7.5}
    assert not [text for text in texts(with_metric(record, "near", **flat), cell) if "values from" in text]


def test_durations_are_stated_by_what_took_them(toy_run: Any) -> None:
    record, _ = first(toy_run())
    assert set(record.timings) == {"target", "reconstruct", "measure/hits", "measure/match", "measure/light"}
    assert all(seconds > 0 for seconds in record.timings.values())
