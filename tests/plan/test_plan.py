"""What will run, what is reused, and why."""

import json

import pytest
from fake_plugin import parts

from mibench.api import UsageError
from mibench.plan.plan import make_plan
from mibench.plan.provenance import made_by
from mibench.protocol.request import Request
from mibench.store.artifact import write_manifest
from mibench.store.stamp import STAMP
from mibench.store.store import Store

REQUEST = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",))


def _by_stage(plan, stage):
    return [planned for planned in plan.nodes if planned.stage == stage]


def _commit(store, node):
    with store.commit(node.stage, node.key, node.payload, {}) as draft:
        (draft / "a.txt").write_text("x")


def test_inputs_come_first_and_nothing_twice(toy_registry, tmp_path):
    plan = make_plan(REQUEST, toy_registry, Store(tmp_path))
    seen = set()
    for planned in plan.nodes:
        assert set(planned.node.needs.values()) <= seen
        assert planned.key not in seen
        seen.add(planned.key)
    assert plan.protocol_ids == [f"toy@1.0 ({plan.cells[0].loaded.digest[:6]})"]
    assert {p.reason for p in plan.nodes} == {"not in the store"}
    assert len(plan.to_run) == len(plan.nodes)


def test_reasons(toy_registry, tmp_path):
    store, plan = Store(tmp_path / "root"), make_plan(REQUEST, toy_registry, Store(tmp_path / "empty"))
    (prior,), (evaluator,) = _by_stage(plan, "prior"), _by_stage(plan, "evaluator")
    target = plan.cells[-1].target
    folder = tmp_path / "layer" / "prior-linear"
    folder.mkdir(parents=True)
    made_by_others = {"sources": {"prior": "of an older version"}}
    write_manifest(folder, key=prior.key, stage="prior", payload=prior.node.payload, meta=made_by_others)
    _commit(store, evaluator.node)
    (store.work(target.key) / "training.pt").write_text("half")
    stamp = made_by(toy_registry, target.inputs)
    (store.work(target.key) / STAMP).write_text(json.dumps({**stamp, "threads": 1}))
    store.work(plan.cells[0].target.key)  # an empty folder is no checkpoint
    again = make_plan(REQUEST, toy_registry, Store(tmp_path / "root", [tmp_path / "layer"]))
    reasons = {planned.key: (planned.reused, planned.reason) for planned in again.nodes}
    assert reasons[prior.key] == (True, "shipped with its plugin")
    assert reasons[evaluator.key] == (True, "in the store")
    assert reasons[target.key] == (False, "continues from a checkpoint")
    assert reasons[plan.cells[0].target.key] == (False, "not in the store")
    assert plan.cells[0].graph.data("public").key not in reasons  # only the prior needed it


@pytest.mark.parametrize(
    ("stamp", "why"),
    [
        (None, "begins again: its checkpoint does not say what made it"),
        (
            {"source code of the defense": "0" * 64},
            "begins again: its checkpoint was made by other source code of the defense",
        ),
        ({"torch": "1.0"}, "begins again: its checkpoint was made by other torch"),
    ],
)
def test_a_checkpoint_of_other_code_is_told(toy_registry, tmp_path, stamp, why):
    store, plan = Store(tmp_path / "root"), make_plan(REQUEST, toy_registry, Store(tmp_path / "empty"))
    target = plan.cells[-1].target
    (store.work(target.key) / "training.pt").write_text("half")
    if stamp is not None:
        (store.work(target.key) / STAMP).write_text(json.dumps({**made_by(toy_registry, target.inputs), **stamp}))
    reasons = {p.key: p.reason for p in make_plan(REQUEST, toy_registry, Store(tmp_path / "root")).nodes}
    assert reasons[target.key] == why


def test_inputs_of_what_exists_are_not_planned_unless_a_record_states_them(toy_registry, tmp_path):
    store = Store(tmp_path)
    plan = make_plan(REQUEST, toy_registry, store)
    for planned in plan.nodes:
        if planned.stage in ("measure", "prior"):
            _commit(store, planned.node)
    again = [p for p in make_plan(REQUEST, toy_registry, Store(tmp_path)).nodes if not p.reused]
    assert {p.stage for p in again} == {"data", "target", "reconstruct", "evaluator"}
    assert plan.cells[0].graph.data("public").key not in {p.key for p in again}


@pytest.mark.parametrize(("defense", "seconds"), [("plain", 7), ("noisy", 14)])
def test_estimates_follow_the_protocol_and_the_cost_of_the_defense(toy_registry, tmp_path, defense, seconds):
    plan = make_plan(REQUEST, toy_registry, Store(tmp_path))
    (target,) = [p for p in _by_stage(plan, "target") if p.node.payload["defense"]["name"] == defense]
    assert target.estimate_s == seconds
    guessed = {p.estimate_s for p in _by_stage(plan, "reconstruct")}
    assert guessed == {5, None}  # nothing is known about the floor


def test_a_prior_without_its_files_is_refused_before_anything_runs(toy_registry, tmp_path, monkeypatch):
    store, plan = Store(tmp_path / "root"), make_plan(REQUEST, toy_registry, Store(tmp_path / "before"))
    monkeypatch.setattr(parts.Linear, "missing", lambda self: ["weights.bin is not here: run `get weights`"])
    with pytest.raises(UsageError, match="run `get weights`"):
        make_plan(REQUEST, toy_registry, store)
    _commit(store, _by_stage(plan, "prior")[0].node)
    assert make_plan(REQUEST, toy_registry, Store(tmp_path / "root")).nodes  # what has been read once is enough
