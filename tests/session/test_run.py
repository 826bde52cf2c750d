"""Runs of a request in this process: reuse, records, commands that repeat a cell, and watchers."""

import json
import shlex

import click
import pytest

from mibench.api import UsageError, hookimpl
from mibench.api.errors import StoreError
from mibench.cli.request import build_request, parse_settings
from mibench.cli.run import run as run_command
from mibench.plan.cells import expand
from mibench.protocol.request import Request
from mibench.results.io import load_record, verify_digest
from mibench.session.run import plan_request
from mibench.store.store import Store


def test_the_second_run_reuses_everything_and_repeats_its_records(toy_run, toy_registry):
    watcher = Watcher()
    first = toy_run(defenses=("noisy",))
    toy_registry.watch(watcher)
    second = toy_run(defenses=("noisy",))
    assert watcher.seen == []
    assert {planned.reason for planned in second.planned.nodes} == {"in the store"}
    assert second.planned.to_run == []
    assert [r.digest for r in second.records] == [r.digest for r in first.records]
    assert (first.exit_code, second.exit_code) == (0, 0)


def test_records_are_complete_and_saved(toy_run):
    result = toy_run(defenses=("noisy",))
    assert [r.cell.defense for r in result.records] == ["plain", "noisy"]
    record = load_record(result.record_paths[1])
    assert verify_digest(record)
    assert record.digest == result.records[1].digest
    assert set(record.metrics) == {"accuracy", "match@1", "near", "light"}
    assert {name: set(values) for name, values in record.controls.items()} == {
        name: {"match@1", "near", "light"} for name in ("gold", "floor", "undefended")
    }
    assert record.controls["undefended"] == {n: result.records[0].metrics[n] for n in ("match@1", "near", "light")}
    assert set(record.inputs) == {"target", "reconstructions", "prior", "data", "evaluator:judge"}
    assert record.components["defense"].preset == "toy"
    assert record.environment.device == "cpu"
    assert result.report.is_file()
    noisy = record.metrics["light"]
    assert noisy.value == pytest.approx(sum(noisy.per_class) / 3)
    assert noisy.n == 6


def test_a_shared_matrix_gives_each_cell_the_record_it_has_alone(toy_run, tmp_path):
    together = toy_run(defenses=("noisy", "noisy/strong"), attacks=("guess", "reader"))
    alone = toy_run(defenses=("noisy/strong",), attacks=("reader",), store=tmp_path / "alone")
    wanted = alone.records[-1]
    assert wanted.digest in {record.digest for record in together.records}


# The command that repeats a cell

REPEATED = [
    {},
    {"defenses": ("noisy", "broken"), "attacks": ("guess", "guess/deep", "reader"), "seeds": (0, 5)},
    {"defenses": ("noisy/strong",), "models": ("tiny", "tiny/wide")},
    {"settings": {"defense.lam": 0.75, "attack.lr": 0.5, "model.width": 2}},
    {
        "defenses": ("noisy", "broken"),
        "attacks": ("guess", "reader"),
        "settings": {"noisy.lam": "1", "reader.steps": 5},
    },
    {"variant": "validation"},
    {"protocols": ("toy@1.0", "other")},
]


@pytest.mark.parametrize("fields", REPEATED)
def test_the_command_of_a_record_repeats_its_cell(toy_registry, fields):
    from mibench.assemble.records import cell_ref, reproduce

    request = Request(**{"protocols": ("toy",), "defenses": ("noisy",), "attacks": ("guess",), **fields})
    for cell in expand(request, toy_registry):
        words = shlex.split(reproduce(cell))
        assert words[:2] == ["mibench", "run"]
        repeated = expand(parsed(words[2:]), toy_registry)
        assert cell_ref(cell) == cell_ref(repeated[-1])
        assert repeated[-1].target.key == cell.target.key
        assert repeated[-1].reconstructions.key == cell.reconstructions.key
        assert repeated[-1].attack.overridden == cell.attack.overridden


def parsed(words):
    """Return the request that the command line makes of these words."""
    options = run_command.make_context("run", list(words), obj={}).params
    for name in ("matrix", "dry_run", "as_json", "quiet"):
        options.pop(name)
    options["settings"] = parse_settings(options["settings"])
    return build_request(options, matrix=None)


def test_parsed_notices_words_that_the_command_line_does_not_know():
    with pytest.raises(click.UsageError):
        parsed(["--defence", "noisy"])


# Watchers


class Watcher:
    """Writes down every call."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def mibench_stage_started(self, node):
        self.seen.append(("started", node["stage"], node["key"]))

    @hookimpl
    def mibench_stage_progress(self, node, done, total, unit, signals):
        self.seen.append(("progress", node["stage"], node["key"], done, total, unit))

    @hookimpl
    def mibench_stage_finished(self, node, seconds):
        assert seconds >= 0
        self.seen.append(("finished", node["stage"], node["key"]))

    @hookimpl
    def mibench_stage_failed(self, node, error):
        self.seen.append(("failed", node["stage"], node["key"], error))


class Spoiler:
    """Raises, and tries to change what it is told."""

    @hookimpl
    def mibench_stage_progress(self, node, done, total, unit, signals):
        signals.clear()
        raise RuntimeError("spoiled")


def test_hooks_are_called_in_order(toy_run, toy_registry):
    watcher = Watcher()
    toy_registry.watch(watcher)
    result = toy_run(defenses=("noisy",))
    toy_registry.unwatch(watcher)
    ran = [node.key for node in result.planned.to_run]
    assert [event[2] for event in watcher.seen if event[0] == "started"] == ran
    assert [event[2] for event in watcher.seen if event[0] == "finished"] == ran
    target = [event for event in watcher.seen if event[2] == result.planned.cells[-1].target.key]
    assert [event[0] for event in target] == ["started", *["progress"] * 5, "finished"]
    assert [event[3:] for event in target[1:-1]] == [(done, 5, "epochs") for done in range(1, 6)]
    before = len(watcher.seen)
    toy_run(defenses=("noisy/strong",))
    assert len(watcher.seen) == before  # it no longer watches


def test_failures_and_what_they_take_with_them_are_told(toy_run, toy_registry):
    watcher = Watcher()
    toy_registry.watch(watcher)
    result = toy_run(defenses=("broken",))
    failed = [event for event in watcher.seen if event[0] == "failed"]
    cell = result.planned.cells[-1]
    assert failed[0][2] == cell.target.key
    assert "this defense is broken" in failed[0][3]
    skipped = {event[2]: event[3] for event in failed[1:]}
    assert set(skipped) == {cell.reconstructions.key, *(node.key for node in cell.measures.values())}
    assert set(skipped.values()) == {"skipped: broken · tiny · seed 3 failed"}


def test_a_watcher_that_raises_changes_no_byte(toy_run, toy_registry, tmp_path):
    quiet = toy_run(defenses=("noisy",), store=tmp_path / "quiet")
    toy_registry.watch(Spoiler())
    spoiled = toy_run(defenses=("noisy",), store=tmp_path / "spoiled")
    assert "spoiled" in toy_registry.failures[-1].reason
    assert [r.digest for r in quiet.records] == [r.digest for r in spoiled.records]
    contents = [
        {m.parent.name: json.loads(m.read_text())["content"] for m in (tmp_path / name).glob("artifacts/*/*/*.json")
         if m.name == "manifest.json"}
        for name in ("quiet", "spoiled")
    ]  # fmt: skip
    assert contents[0] == contents[1]


def test_planning_checks_executor_and_device(toy_registry, tmp_path):
    fields = {"protocols": ("toy",), "attacks": ("guess",), "store": tmp_path}
    with pytest.raises(UsageError, match="Did you mean 'local'"):
        plan_request(Request(**fields, executor="locl"), toy_registry)
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        plan_request(Request(**fields, defenses=("plain",), device="toaster"), toy_registry)


def test_a_record_states_the_threads_that_made_its_artifacts(toy_run, monkeypatch):
    toy_run(defenses=("noisy",))
    monkeypatch.setenv("MIBENCH_THREADS", "2")
    again = toy_run(defenses=("noisy",))
    assert [record.environment.threads for record in again.records] == [1, 1]


@pytest.mark.parametrize("option", ["output", "publish"])
def test_folders_that_cannot_be_written_are_refused_before_anything_runs(toy_run, tmp_path, option):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match=rf"cannot write to .*file.*Choose another with --{option}"):
        toy_run(**{option: tmp_path / "file" / "inside"})
    assert not list((tmp_path / "store" / "artifacts").glob("*"))


def test_a_store_that_cannot_be_written_still_answers_what_it_holds(toy_run, monkeypatch):
    def refuse(store):
        raise StoreError("cannot write")

    first = toy_run()
    monkeypatch.setattr(Store, "require_writable", refuse)
    assert [record.cell.key for record in toy_run().records] == [record.cell.key for record in first.records]
    with pytest.raises(StoreError, match="cannot write"):
        toy_run(seeds=(4,))
